# SPDX-License-Identifier: BSD-3-Clause
# Hugepages for the arms that want them: so many for everybody in turn, given back at the end.
import netns

NR_HUGEPAGES = "/proc/sys/vm/nr_hugepages"


class Hugepages:
    """`n` pages of 2 MiB more than there were, inside the `with`."""

    def __init__(self, n):
        self._n, self._before = n, ""

    def __enter__(self):
        with open(NR_HUGEPAGES, encoding="ascii") as file:
            self._before = file.read()
        self._write(str(int(self._before) + self._n))
        with open(NR_HUGEPAGES, encoding="ascii") as file:
            got = int(file.read()) - int(self._before)
        if got < self._n:
            self.__exit__()
            raise netns.CommandFailed(f"the kernel has {got} free hugepages, not {self._n}")

    def __exit__(self, *_):
        self._write(self._before)

    @staticmethod
    def _write(text):
        with open(NR_HUGEPAGES, "w", encoding="ascii") as file:
            file.write(text)
