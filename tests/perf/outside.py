# SPDX-License-Identifier: BSD-3-Clause
# dev bench, outside of its sandbox: sees that it is the only one, runs it, ends it when it is asked
# to, and puts right what it has left (alone.py). Started by run.sh with what is to run in the
# sandbox, bench.py or where.py.
import os
import secrets
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

# pylint: disable=wrong-import-position
import alone
import others
import sandbox

KILLED = 128 + signal.SIGKILL


class Inside:
    """The sandbox. In a session of its own: what ends it is decided here alone."""

    def __init__(self):
        self.process, self.asked = None, 0  # the signal that it is to end for
        for number in alone.SIGNALS:
            signal.signal(number, self.end)

    # With unshare goes the sandbox' first process, and so all of them.
    def end(self, number, _frame=None):
        self.asked = self.asked or number
        if self.process:
            self.process.kill()

    # Runs it to its end; its exit status, and the signal that ended it or 0.
    def run(self, command, mark, folders):
        environment = {alone.MARK: mark, "TMPDIR": folders[0], alone.DISK: folders[1]}
        alone.note(of=mark, process=os.getpid(), folders=folders)
        for path in folders:
            os.mkdir(path, 0o700)
        host = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)  # others.py's: its own hides others
        if not self.asked:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                sandbox.wrap(command), stdin=subprocess.DEVNULL, start_new_session=True,
                pass_fds=(host,), env=os.environ | environment | {others.HOST: str(host)})
            if self.asked:
                self.end(self.asked)
            status = self.process.wait()
            # One that ended itself on a signal says so by its status.
            if status - 128 in alone.SIGNALS:
                self.asked = self.asked or signal.Signals(status - 128)
        return (128 + self.asked if self.asked else KILLED if status < 0 else status), self.asked


def main():
    inside = Inside()
    try:
        with alone.locked() as found:
            if found:
                print("dev bench: put right what a killed one had left: "
                      f"{', '.join(found)}", file=sys.stderr, flush=True)
            mark = f"insula-bench-{secrets.token_hex(4)}"
            status, number = inside.run(sys.argv[1:], mark, [f"/tmp/{mark}", f"/var/tmp/{mark}"])
    except alone.Refused as error:
        sys.exit(f"dev bench: {error}")
    if number:
        print(f"dev bench: ended by {signal.Signals(number).name}", file=sys.stderr)
    elif status == KILLED:
        print("dev bench: its sandbox was killed", file=sys.stderr)
    sys.exit(status)


main()
