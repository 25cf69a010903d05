# SPDX-License-Identifier: BSD-3-Clause
# Hugepages for the arms that want them: so many for everybody in turn, given back at the end.
import alone
import netns

NR_HUGEPAGES = alone.NR_HUGEPAGES


class Hugepages:
    """`n` pages of 2 MiB more than there were, inside the `with`."""

    def __init__(self, n):
        self._n, self._before = n, 0

    def __enter__(self):
        self._before = self._read()
        alone.note(hugepages=self._before, more=self._n)
        self._write(self._before + self._n)
        if (got := self._read() - self._before) < self._n:
            self.__exit__()
            raise netns.CommandFailed(f"the kernel has {got} free hugepages, not {self._n}")

    def __exit__(self, *_):
        self._write(self._before)
        alone.note(more=0)

    @staticmethod
    def _read():
        with open(NR_HUGEPAGES, encoding="ascii") as file:
            return int(file.read())

    @staticmethod
    def _write(n):
        with open(NR_HUGEPAGES, "w", encoding="ascii") as file:
            file.write(str(n))
