# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody can have a neighbour slowed by speaking in its name.

    neighbour ─ lan1 ┐           ┌ wan0 ─ member
       client ─ lan0 ┴─ gateway ─┴ wan1 ─ stranger

client's flows with stranger are what they seem. Others forge both halves of every
tunnel's handshake into them: a neighbour alone, or together with a friend outside,
or, where one half is enough (`confirm = "one-way"`), either alone. The same messages
from those whose addresses they carry are what they say.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.lab import forging, handshakes, load, rates
from tests.lab.daemon import Daemon
from tests.lab.forging import Flow
from tests.lab.handshakes import Opening
from tests.lab.load import Exchange
from tests.lab.topology import Host, Lab
from vpngate.packets import Transport

VERSIONS = (4, 6)
_HEAVY, _LIGHT, _BACK = 40e6, 8e6, 1e6  # bit/s
_BEFORE, _AFTER = 0.3, 1.5  # seconds that flows go on before and after a forgery
_READ = 0.6  # seconds: the daemon's reading of its counters is no older
_TIMES = 3
_NEVER = 0.5  # seconds in which a verdict would have been reached

# Each attack takes flows of its own, which nothing is known of.
_client_ports = itertools.count(30_000, 10)


@dataclass(frozen=True)
class Innocent:
    """A flow of the client's, and the handshake that is forged into it."""

    opening: Opening
    flow: Flow

    @property
    def ports(self) -> tuple[int, int]:
        return self.flow.client_port, self.flow.server_port


def innocents(lab: Lab, version: int, *, listening: bool = False) -> list[Innocent]:
    """One for each tunnel; its registered port is the client's if it is `listening`."""
    ends = lab.client.at(version).address, lab.stranger.at(version).address
    first = next(_client_ports)
    made = []
    for number, opening in enumerate(handshakes.openings()):
        ports = (first + number, opening.port)
        if listening:
            ports = ports[::-1]
        made.append(Innocent(opening, Flow(*ends, *ports, opening.transport)))
    return made


def named(attacked: Sequence[Innocent], *names: str) -> list[Innocent]:
    """Those whose openings have these names, in the order of the names."""
    return [one for name in names for one in attacked if one.opening.name == name]


@contextlib.contextmanager
def conversing(
    lab: Lab, flows: Sequence[Innocent]
) -> Iterator[tuple[list[Exchange], Exchange]]:
    """The flows and a control beside them; the first of them is a heavy one."""
    version = flows[0].flow.version
    with contextlib.ExitStack() as stack:

        def begin(down: float, ports: tuple[int, int] | None) -> Exchange:
            ends = lab.client.at(version), lab.stranger.at(version)
            exchange = load.exchange(*ends, up=_BACK, down=down, ports=ports)
            return stack.enter_context(exchange)

        begun = [
            begin(_LIGHT if number else _HEAVY, one.ports)
            for number, one in enumerate(flows)
        ]
        control = begin(_LIGHT, None)
        time.sleep(_BEFORE)
        yield begun, control


def verdicts(running: Daemon) -> dict[str, float]:
    return {
        tunnel: running.metric("vpngate_flows_total", verdict="throttle", tunnel=tunnel)
        for tunnel in ("wireguard", "openvpn", "ipsec", "l2tp", "pptp")
    }


@contextlib.contextmanager
def nobody_slowed(
    lab: Lab, running: Daemon, flows: Sequence[Innocent]
) -> Iterator[None]:
    """The flows go on before and after the block.

    No verdict is reached meanwhile, no packet throttled, and no flow slowed: what
    arrives of each is what arrives of the control.
    """
    before = verdicts(running)
    packets = running.metric("vpngate_throttled_packets_total")
    with conversing(lab, flows) as (begun, control):
        yield
        time.sleep(_AFTER)
        said = [exchange.stop().down for exchange in (*begun, control)]
    shares = [rates.beside(one, said[-1]) for one in said]
    time.sleep(_READ)
    assert verdicts(running) == before, shares
    assert running.metric("vpngate_throttled_packets_total") == packets, shares
    assert min(shares) >= rates.LIKE_CONTROL


@dataclass(frozen=True)
class Half:
    """Who sends one message of a handshake, and whether in the server's name."""

    sender: Host
    message: str  # of an `Opening`
    back: bool


def forge(
    lab: Lab, attacked: Sequence[Innocent], device: str, halves: Sequence[Half]
) -> None:
    """Send the halves of each handshake, in order, a few times.

    The kernel counts what reaches the gateway by `device` in the victim's name: all
    that comes from the host behind it.
    """
    names = [attacked[0].flow.client, attacked[0].flow.server]
    behind = halves[0].sender
    sent = 0
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(forging.watching(lab.gateway, device, names))
        mouths = [stack.enter_context(forging.mouth(half.sender)) for half in halves]
        for one, _ in itertools.product(attacked, range(_TIMES)):
            for half, mouth in zip(halves, mouths, strict=True):
                payload = getattr(one.opening, half.message)
                forging.tell(mouth, one.flow, payload, back=half.back)
                sent += half.sender is behind
        assert watch.count() == sent


@contextlib.contextmanager
def reverse_path(lab: Lab, value: int) -> Iterator[None]:
    """The kernel's own filter on the subscribers' interfaces: 0 off, 1 strict."""
    keys = [f"net.ipv4.conf.{device}.rp_filter" for device in ("lan0", "lan1")]
    for key in keys:
        lab.gateway.sysctl(key, value)
    try:
        yield
    finally:
        for key in keys:
            lab.gateway.sysctl(key, 0)


@pytest.mark.parametrize(
    ("version", "rp_filter", "asks"),
    [(4, 1, True), (4, 1, False), (4, 2, False), (4, 0, False), (6, 0, False)],
    ids=["strict, asks", "strict", "loose", "off", "IPv6"],
)
def test_a_neighbour_sends_both_halves(
    lab: Lab, enforcing: Daemon, version: int, rp_filter: int, *, asks: bool
) -> None:
    """The victim is made to look like the end that asks, or that answers."""
    attacked = innocents(lab, version, listening=not asks)
    halves = [
        Half(lab.neighbour, "request", back=not asks),
        Half(lab.neighbour, "answer", back=asks),
    ]
    with (
        reverse_path(lab, rp_filter),
        nobody_slowed(lab, enforcing, named(attacked, "wireguard", "ike-natt")),
    ):
        forge(lab, attacked, "lan1", halves)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("first", ["a neighbour", "outside"])
def test_a_neighbour_and_a_friend_outside_send_a_half_each(
    lab: Lab, enforcing: Daemon, version: int, first: str
) -> None:
    """Each the half that would pass where it comes from; the filter is off."""
    neighbour_asks = first == "a neighbour"
    attacked = innocents(lab, version, listening=not neighbour_asks)
    inner, outer = ("request", "answer") if neighbour_asks else ("answer", "request")
    halves = [
        Half(lab.neighbour, inner, back=False),
        Half(lab.member, outer, back=True),
    ]
    if not neighbour_asks:
        halves.reverse()
    with nobody_slowed(lab, enforcing, named(attacked, "openvpn", "ike")):
        forge(lab, attacked, "lan1" if neighbour_asks else "wan0", halves)


def test_esp_in_udp_is_forged_by_a_neighbour(lab: Lab, enforcing: Daemon) -> None:
    """Running traffic, four packets each way, on a flow that is no tunnel."""
    up, down = handshakes.esp_in_udp()
    ends = lab.client.ipv4, lab.stranger.ipv4
    flow = Flow(*ends, next(_client_ports), 4500, Transport.UDP)
    before = verdicts(enforcing)
    with forging.mouth(lab.neighbour) as mouth:
        for one, other in zip(up, down, strict=True):
            forging.tell(mouth, flow, one, back=False)
            forging.tell(mouth, flow, other, back=True)
    time.sleep(_NEVER)
    assert verdicts(enforcing) == before


def genuine(lab: Lab, running: Daemon, version: int, *, answered: bool) -> set[str]:
    """The names of the openings that get a verdict when their owners send them."""
    throttled = set()
    with forging.mouth(lab.client) as near, forging.mouth(lab.stranger) as far:
        for one in innocents(lab, version):
            before = verdicts(running)
            forging.tell(near, one.flow, one.opening.request, back=False)
            if answered:
                forging.tell(far, one.flow, one.opening.answer, back=True)
            if _changes(running, before):
                throttled.add(one.opening.name)
    return throttled


def _changes(running: Daemon, before: dict[str, float]) -> bool:
    deadline = time.monotonic() + _NEVER
    while time.monotonic() < deadline:
        if verdicts(running) != before:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_messages_from_their_owners_are_tunnels(
    lab: Lab, enforcing: Daemon, version: int
) -> None:
    """What is forged above would do, were it not forged."""
    every = {opening.name for opening in handshakes.openings()}
    assert genuine(lab, enforcing, version, answered=True) == every


@pytest.fixture(scope="module")
def one_way(enforcing: Daemon) -> Daemon:
    """The same daemon told, for the rest of the module, that one half is enough."""
    enforcing.settings.change(tunnels={"confirm": "one-way"})
    enforcing.reload()
    return enforcing


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("where", ["outside", "a neighbour"])
def test_one_message_is_forged_where_one_is_enough(
    lab: Lab, one_way: Daemon, version: int, where: str
) -> None:
    """As from the remote, to the victim's port, and as from the victim."""
    sender, device = (lab.member, "wan0")
    if where == "a neighbour":
        sender, device = (lab.neighbour, "lan1")
    as_victim, as_remote = (
        innocents(lab, version, listening=listening) for listening in (False, True)
    )
    flows = [*named(as_victim, "l2tp"), *named(as_remote, "l2tp", "ike")]
    with nobody_slowed(lab, one_way, flows):
        forge(lab, as_victim, device, [Half(sender, "request", back=False)])
        forge(lab, as_remote, device, [Half(sender, "request", back=True)])


@pytest.mark.parametrize("version", VERSIONS)
def test_one_message_of_its_owner_is_enough_where_it_is_beyond_doubt(
    lab: Lab, one_way: Daemon, version: int
) -> None:
    every = {opening.name for opening in handshakes.openings() if opening.one_way}
    assert genuine(lab, one_way, version, answered=False) == every
