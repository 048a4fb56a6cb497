# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows that are what they seem, and handshakes that others forge into them.

Knows how to begin such flows, to forge into them from any host, and what it means
that nobody came to harm; does not know who may forge what, nor between which hosts
the flows go.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.lab import forging, handshakes, load, rates
from tests.lab.daemon import Daemon, total
from tests.lab.forging import Flow
from tests.lab.handshakes import Opening
from tests.lab.load import Exchange
from tests.lab.namespaces import Namespace
from tests.lab.topology import Host

_HEAVY, _LIGHT, _BACK = 40e6, 8e6, 1e6  # bit/s
_BEFORE, _AFTER = 0.5, 1.5  # seconds that flows go on before and after a forgery
_READ = 0.6  # seconds: the daemon's reading of its counters is no older
_TIMES = 3  # that each forgery is sent

# Each attack takes flows of its own, which nothing is known of.
_ports = itertools.count(30_000, 10)


@dataclass(frozen=True)
class Innocent:
    """A flow between two hosts, and the handshake that is forged into it."""

    client: Host
    server: Host
    opening: Opening
    flow: Flow

    def begin(self, down: float) -> contextlib.AbstractContextManager[Exchange]:
        """The flow, at `down` bit/s towards the client."""
        ports = self.flow.client_port, self.flow.server_port
        return _exchange(self, down, ports)


def innocents(
    client: Host, server: Host, version: int, *, listening: bool = False
) -> list[Innocent]:
    """One for each tunnel; its registered port is the client's if it is `listening`."""
    ends = client.at(version).address, server.at(version).address
    first = next(_ports)
    made = []
    for number, opening in enumerate(handshakes.openings()):
        ports = (first + number, opening.port)
        if listening:
            ports = ports[::-1]
        flow = Flow(*ends, *ports, opening.transport)
        made.append(Innocent(client, server, opening, flow))
    return made


def named(flows: Sequence[Innocent], *names: str) -> list[Innocent]:
    """Those whose openings have these names, in the order of the names."""
    return [one for name in names for one in flows if one.opening.name == name]


def _exchange(
    one: Innocent, down: float, ports: tuple[int, int] | None
) -> contextlib.AbstractContextManager[Exchange]:
    ends = (end.at(one.flow.version) for end in (one.client, one.server))
    return load.exchange(*ends, up=_BACK, down=down, ports=ports)


def verdicts(running: Daemon) -> dict[str, float]:
    """Flows that were given to the slower class since the start, by tunnel."""
    told = running.samples("vpngate_flows_total")
    return {
        tunnel: total(told, verdict="throttle", tunnel=tunnel)
        for tunnel in ("wireguard", "openvpn", "ipsec", "l2tp", "pptp")
    }


@contextlib.contextmanager
def nobody_slowed(running: Daemon, flows: Sequence[Innocent]) -> Iterator[None]:
    """The flows go on before and after the block, the first of them at a high rate.

    No verdict is reached meanwhile, no packet throttled, and no flow slowed: what
    arrives of each is what arrives of a control beside them.
    """
    before = verdicts(running)
    with contextlib.ExitStack() as stack:
        begun = [
            stack.enter_context(one.begin(_LIGHT if number else _HEAVY))
            for number, one in enumerate(flows)
        ]
        begun.append(stack.enter_context(_exchange(flows[0], _LIGHT, None)))
        time.sleep(_BEFORE)
        # By now a reading has seen the last packets of what was throttled before.
        packets = running.metric("vpngate_throttled_packets_total")
        yield
        time.sleep(_AFTER)
        said = [exchange.stop().down for exchange in begun]
    shares = [rates.share_of_control(one, said[-1]) for one in said]
    time.sleep(_READ)
    assert verdicts(running) == before, shares
    assert running.metric("vpngate_throttled_packets_total") == packets, shares
    assert min(shares) >= rates.LIKE_CONTROL


@dataclass(frozen=True)
class Half:
    """Who sends one message of a handshake, and whether in the server's name.

    `to` is the station it is sent to, the sender's next hop if it is None.
    """

    sender: Host
    message: str  # of an `Opening`
    back: bool
    to: str | None = None


def forge(
    gateway: Namespace, device: str, attacked: Sequence[Innocent], *halves: Half
) -> None:
    """Send the halves of each handshake, in order, a few times.

    The kernel counts that all which the first half's sender sends reaches the gateway
    by `device`.
    """
    behind = halves[0].sender
    sent = 0
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(
            forging.watching(gateway, device, behind, attacked[0].flow)
        )
        mouths = [
            stack.enter_context(forging.mouth(half.sender, half.to)) for half in halves
        ]
        for one, _ in itertools.product(attacked, range(_TIMES)):
            for half, mouth in zip(halves, mouths, strict=True):
                payload = getattr(one.opening, half.message)
                forging.tell(mouth, one.flow, payload, back=half.back)
                sent += half.sender is behind
        assert watch.count() == sent
