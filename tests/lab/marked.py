# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic of addresses that nobody else has: they are known wherever they turn up.

    client ─ lan0 ─ gateway ─ wan1 ─ stranger

Knows how each tunnel is opened and answered in their names, by ESP and GRE, too, and
what else passes; does not know where they are looked for.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE_PPTP

from tests.lab import forging, handshakes
from tests.lab.daemon import Daemon
from tests.lab.forging import Flow, Mouth
from tests.lab.topology import Host, Lab
from vpngate.packets import Transport

# In the networks of the lab's wires. Of two of each family the first has tunnels.
SUBSCRIBERS = {4: "100.64.1.199", 6: "2001:db8:64:1:5eed:c0de:feed:cafe"}
SERVERS = {4: "198.51.100.238", 6: "2001:db8:b:0:bead:fade:deaf:face"}
OTHERS = {4: "100.64.1.211", 6: "2001:db8:64:1:ab1e:d00d:beef:f00d"}
MARKED = (*SUBSCRIBERS.values(), *SERVERS.values(), *OTHERS.values())
TUNNELS = ("wireguard", "openvpn", "ipsec", "l2tp", "pptp")
_ESP, _GRE = 50, 47
_PAUSE = 0.005  # seconds between two packets, so that they arrive in order

_ports = itertools.count(41_000, 20)


class Ends(NamedTuple):
    """The two hosts' mouths, and a pair of addresses."""

    near: Mouth
    far: Mouth
    client: str
    server: str

    def say(self, protocol: int, payload: bytes, *, back: bool) -> None:
        """A packet of a protocol without ports."""
        ends = (self.server, self.client) if back else (self.client, self.server)
        if ":" in self.client:
            packet = IPv6(src=ends[0], dst=ends[1], nh=protocol) / payload
        else:
            packet = IP(src=ends[0], dst=ends[1], proto=protocol) / payload
        (self.far if back else self.near).send(bytes(packet))
        time.sleep(_PAUSE)


@contextlib.contextmanager
def mouths(lab: Lab) -> Iterator[tuple[Mouth, Mouth]]:
    """The client's and the stranger's; the gateway knows where the marked ones live."""
    for host, device, addresses in (
        (lab.client, "lan0", (*SUBSCRIBERS.values(), *OTHERS.values())),
        (lab.stranger, "wan1", SERVERS.values()),
    ):
        lab.gateway.ip(*(_neighbour(each, host, device) for each in addresses))
    with forging.mouth(lab.client) as near, forging.mouth(lab.stranger) as far:
        yield near, far


def wait_for_verdicts(running: Daemon) -> None:
    """Wait until each tunnel has a verdict in both families, of those spoken of."""

    def judged() -> bool:
        flows = running.ask("status")["flows"]
        reached = (flows.get(each, {}).get("verdicts", {}) for each in TUNNELS)
        return all(verdicts.get("throttle", 0) >= 2 for verdicts in reached)

    running.wait_until(judged, "a verdict on every tunnel in both families")


def _neighbour(address: str, host: Host, device: str) -> str:
    return f"neigh replace {address} lladdr {host.mac} dev {device}"


def speak(lab: Lab) -> None:
    """Open every tunnel in both families, use some of them, and send what is none."""
    with mouths(lab) as (near, far):
        for version in (4, 6):
            ends = Ends(near, far, SUBSCRIBERS[version], SERVERS[version])
            _tunnels(ends)
            _esp(ends)
            if version == 4:
                _gre(ends)
            _nonsense(ends._replace(client=OTHERS[version]))


def _tunnels(ends: Ends) -> None:
    first = next(_ports)
    for number, opening in enumerate(handshakes.openings()):
        ports = first + number, opening.port
        flow = Flow(ends.client, ends.server, *ports, opening.transport)
        ends.near.send(flow.packet(opening.request, back=False))
        time.sleep(_PAUSE)
        ends.far.send(flow.packet(opening.answer, back=True))
        time.sleep(_PAUSE)
        for payload in (b"\x04\0\0\0" + bytes(60), b"plain"):
            ends.near.send(flow.packet(payload, back=False))


def _esp(ends: Ends) -> None:
    up, down = handshakes.esp_in_udp()
    for one, other in zip(up, down, strict=True):
        ends.say(_ESP, one, back=False)
        ends.say(_ESP, other, back=True)


def _gre(ends: Ends) -> None:
    for number in range(3):
        fields = {"seqnum_present": 1, "sequence_number": number, "call_id": 7}
        data = bytes(GRE_PPTP(**fields) / b"\xff\x03\0\x21")
        ends.say(_GRE, data, back=False)
        ends.say(_GRE, data, back=True)


def _nonsense(ends: Ends) -> None:
    """Openings that go wrong: cut, with another byte in each, answered by nobody."""
    port = next(_ports)
    for opening in handshakes.openings():
        flow = Flow(ends.client, ends.server, port, opening.port, opening.transport)
        whole = opening.request
        for payload in (whole[:-1], whole[: len(whole) // 2], whole + b"\0", whole):
            ends.near.send(flow.packet(payload, back=False))
        for at in range(0, len(whole), max(1, len(whole) // 8)):
            changed = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
            ends.near.send(flow.packet(changed, back=False))
        ends.far.send(flow.packet(opening.answer[:-1], back=True))
        time.sleep(_PAUSE)
    udp = Flow(ends.client, ends.server, port, 443, Transport.UDP)
    ends.near.send(udp.packet(b"\xc0\0\0\0\1" + bytes(1195), back=False))
