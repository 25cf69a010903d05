# SPDX-License-Identifier: BSD-3-Clause
# apply.ports1000_s and apply.remove1000_s: a thousand tap ports made and removed by one command;
# see README.md. Called by bench.py.
import site_lab

NAMES = ("apply.ports1000_s", "apply.remove1000_s")
PORTS = 1000


def measure(bench):
    for _ in range(bench.rounds):
        with site_lab.Site() as site:
            bench.sample("apply.ports1000_s", site.apply_ports(PORTS + 2))
            bench.sample("apply.rss_mib", site_lab.rss_mib(site.switch()))
            bench.sample("apply.remove1000_s", site.apply_ports(2))
        bench.say(f"apply: 1,000 ports made in {bench.samples['apply.ports1000_s'][-1]:.2f} s, "
                  f"removed in {bench.samples['apply.remove1000_s'][-1]:.2f} s")
    bench.value("apply.ports1000_s", "apply.remove1000_s", "apply.rss_mib")
