# SPDX-License-Identifier: BSD-3-Clause
# idle.cpu_percent, switch.rss_mib and wake.p99_us: what it costs that nothing happens, and what the
# first packet pays for it; see README.md. Called by bench.py.
import re
import statistics

import netns
import site_lab

NAMES = ("idle.cpu_percent", "switch.rss_mib", "wake.p99_us")
IDLE_S = 10
PINGS, PING_INTERVAL_S = 500, 0.004  # a worker is asleep well under a millisecond after a packet


# Round trips to the gateway, which the switch answers itself: one wake-up in each. Microseconds.
def _round_trips():
    done = netns.run(*netns.inside(site_lab.PAIR[0]), "ping", "-c", str(PINGS), "-i",
                     str(PING_INTERVAL_S), "-W", "1", site_lab.GATEWAY, timeout=60)
    times = [float(ms) * 1000 for ms in re.findall(r"time=([\d.]+) ms", done.stdout)]
    if len(times) != PINGS:
        raise netns.CommandFailed(f"ping: {len(times)} answers to {PINGS}")
    return times


def _p99(times):
    return statistics.quantiles(times, n=100)[98]


def _wake_round(bench, site):
    site.apply_ports(2, mode="adaptive")
    site.ping()
    idle = _round_trips()
    site.apply_ports(2, mode="poll")
    site.ping()
    warm = _round_trips()
    bench.sample("wake.idle_p50_us", statistics.median(idle))
    bench.sample("wake.idle_p99_us", _p99(idle))
    bench.sample("wake.warm_p50_us", statistics.median(warm))
    bench.sample("wake.warm_p99_us", _p99(warm))
    bench.sample("wake.p99_us", _p99(idle) - statistics.median(warm))
    bench.say(f"wake: round trip asleep {statistics.median(idle):.0f} us, p99 {_p99(idle):.0f}; "
              f"polling {statistics.median(warm):.0f} us, p99 {_p99(warm):.0f}")


def measure(bench):
    with site_lab.Site() as site:
        if bench.wants("idle.cpu_percent", "switch.rss_mib"):
            site.traffic()
            bench.sample("switch.rss_mib", site_lab.rss_mib(site.switch()))
            bench.value("switch.rss_mib")
        if bench.wants("idle.cpu_percent"):
            for _ in range(bench.rounds):
                bench.sample("idle.cpu_percent", site.cpu_percent(IDLE_S))
                bench.say(f"idle: {bench.samples['idle.cpu_percent'][-1]:.2f} % of a processor")
            bench.value("idle.cpu_percent")
        if bench.wants("wake.p99_us"):
            for _ in range(bench.rounds):
                _wake_round(bench, site)
            bench.value("wake.p99_us", "wake.idle_p50_us", "wake.idle_p99_us", "wake.warm_p50_us",
                        "wake.warm_p99_us")
