# SPDX-License-Identifier: GPL-2.0-or-later
"""The real daemon on a gateway, and WireGuard handshakes across it, all of new flows.

    subscribers ── lan0 (hooked by vpngate) ── gateway ── wan1 ── servers

Knows how to have handshakes sent, how to hear when the kernel has their verdicts, and
what the daemon used meanwhile; does not know how many there should be. What crosses
the gateway is dropped behind it.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.footprint import used
from bench.handshaker import End, Plan, flow_key
from bench.verdict_news import Noted, VerdictNews
from tests.lab import topology
from tests.lab.daemon import PYTHON, VPNGATE, Daemon, daemon, enforcing_settings
from tests.lab.namespaces import wait_until
from tests.lab.topology import Host, Lab
from tests.planes import PLANE
from vpngate.config import Plane

News = Callable[[], VerdictNews | Noted]

_ROOT = Path(__file__).parent.parent
_STILL = 3.0  # seconds without another verdict: no more will come
_DROP = """
table netdev end {
    chain dropped {
        type filter hook ingress device eth0 priority 0; policy drop;
    }
}
"""


@dataclass(frozen=True)
class Seen:
    """What became of some handshakes.

    latencies  of each that got a verdict, seconds from its answer to the verdict
    used       seconds of a processor that the daemon had
    seconds    that the handshakes took to send
    no_room    frames that the wire did not take
    """

    sent: int
    latencies: npt.NDArray[np.float64]
    used: float
    seconds: float
    no_room: int

    @property
    def lost(self) -> float:
        """The part that got no verdict."""
        return 1 - len(self.latencies) / self.sent

    @property
    def rate(self) -> float:
        """Verdicts a second, of the time of sending."""
        return len(self.latencies) / self.seconds

    @property
    def a_core(self) -> float:
        """Handshakes that a whole core would carry, by what these took of one."""
        return len(self.latencies) / self.used

    def percentile(self, part: float) -> float:
        """Milliseconds within which so many of a hundred had their verdict."""
        return float(np.percentile(self.latencies, part)) * 1e3


class Gate:
    """A gateway with a daemon that enforces."""

    def __init__(self, lab: Lab, running: Daemon, news: News) -> None:
        self._lab = lab
        self.daemon = running
        self._news = news
        self._next = 0

    def handshakes(
        self, rate: float, seconds: float, subscribers: int, still: float = _STILL
    ) -> Seen:
        """Have so many sent, of flows never seen before; wait for their verdicts.

        Until all are there, or none came for `still` seconds.
        """
        first, count = self._next, max(1, round(rate * seconds))
        self._next += count
        near, far = map(_end, (self._lab.client, self._lab.stranger))
        plan = Plan(near, far, first, count, rate, subscribers)
        with self._news() as news:
            used_before = used(self.daemon.process.pid)
            sent, no_room = self._send(plan)
            _wait(news, count, still)
            spent = used(self.daemon.process.pid) - used_before
            when = news.when
        keys = (flow_key(first + n, subscribers) for n in range(count))
        pairs = [(when.get(key), at) for key, at in zip(keys, sent, strict=True)]
        found = np.array([there - at for there, at in pairs if there is not None])
        return Seen(count, found, spent, max(sent) - min(sent) or 1.0, no_room)

    def _send(self, plan: Plan) -> tuple[npt.NDArray[np.float64], int]:
        """When each answer was sent, and how many frames had no room."""
        file, times = self._lab.folder / "plan", self._lab.folder / "times"
        file.write_text(plan.to_json())
        command = [sys.executable, "-m", "bench.handshaker", str(file), str(times)]
        with subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            is_ready = process.stdout.readline()
            told, _ = process.communicate("go\n" if is_ready else "")
        if process.returncode:
            raise RuntimeError("the handshakes could not be sent")
        return np.fromfile(times), int(json.loads(told)["no room"])


def _wait(news: VerdictNews | Noted, count: int, still: float) -> None:
    last, since = -1, time.monotonic()
    while (there := len(news.when)) < count:
        now = time.monotonic()
        if there > last:
            last, since = there, now
        if now - since > still:
            return
        time.sleep(0.05)


def _end(host: Host) -> End:
    return End(host.namespace.path, "eth0", host.mac, host.next_hop)


@contextlib.contextmanager
def gate(packets_per_second: int | None = None) -> Iterator[Gate]:
    """A gateway whose daemon enforces, with settings as shipped but for the copies."""
    with topology.build() as lab:
        lab.gateway.ip(
            f"route add 100.80.0.0/12 via {lab.client.ipv4} dev lan0",
            f"route add 198.18.0.0/15 via {lab.stranger.ipv4} dev wan1",
        )
        for host in (lab.client, lab.stranger):
            host.namespace.run("nft", "-f", "-", stdin=_DROP)
        settings = enforcing_settings(lab)
        if packets_per_second is not None:
            settings.change(capture={"packets_per_second": packets_per_second})
        program, news = _heard(lab)
        with daemon(lab.gateway, settings, program) as running:
            made = Gate(lab, running, news)
            wait_until(lambda: _is_warm(made), "a first verdict")
            yield made


def _heard(lab: Lab) -> tuple[tuple[str, ...], News]:
    """The daemon's program, and how it is heard when verdicts are in force."""
    if PLANE is Plane.NFTABLES:
        return (VPNGATE, "run"), partial(VerdictNews, lab.gateway)
    file = lab.folder / "noted"
    file.touch()
    return (*PYTHON, "-m", "bench.noting", str(file)), partial(Noted, file)


def _is_warm(made: Gate) -> bool:
    """A few handshakes: all that is done once is done, and verdicts come."""
    return made.handshakes(50, 1, 50).lost < 0.5
