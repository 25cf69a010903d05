# SPDX-License-Identifier: BSD-3-Clause
# Ends a process at a place of its own: right before it makes a system call. x86-64.
import contextlib
import ctypes
import os
import signal

SENDMSG = 46
SYSCALL, SEIZE, INTERRUPT, GET_SYSCALL_INFO = 24, 0x4206, 0x4207, 0x420e
TRACESYSGOOD, AT_SYSCALL, WALL = 1, signal.SIGTRAP | 0x80, 0x40000000
INFO_SIZE, INFO_NUMBER, INFO_ENTRY = 88, 24, 1  # struct ptrace_syscall_info; numbers below 256

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, addr=0, data=0):
    if LIBC.ptrace(request, pid, addr, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request:#x}: {os.strerror(number)}")


# The call that its main thread, stopped at it, is about to make; None: it comes back from one.
def _entered(pid):
    info = ctypes.create_string_buffer(INFO_SIZE)
    _ptrace(GET_SYSCALL_INFO, pid, INFO_SIZE, ctypes.addressof(info))
    return info.raw[INFO_NUMBER] if info.raw[0] == INFO_ENTRY else None


# Kills the process at the first call of that number, which is not made any more, that its main
# thread comes to while `now` holds; the block says what leads to it.
@contextlib.contextmanager
def killed_before(pid, number, now):
    _ptrace(SEIZE, pid, 0, TRACESYSGOOD)
    _ptrace(INTERRUPT, pid)
    os.waitpid(pid, WALL)
    yield
    while True:
        _ptrace(SYSCALL, pid)
        _, status = os.waitpid(pid, WALL)
        assert os.WIFSTOPPED(status), f"{pid} has ended: {status}"
        if os.WSTOPSIG(status) == AT_SYSCALL and _entered(pid) == number and now():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, WALL)
            return
