# SPDX-License-Identifier: GPL-2.0-or-later
"""A mirror port on a live kernel: only candidates come up, losses are counted.

The wire is drawn in `wire.py`; the gateway's end plays the mirror port.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.netns.wire import Wire, build, collect, is_readable, send
from vpngate.capture.candidates import CandidateFilter
from vpngate.capture.live.mirror import MirrorCapture
from vpngate.errors import MachineFault, MissingInterface
from vpngate.packets import Transport, decode, parse_address
from vpngate.tunnels import Recogniser, all_tunnels

# Sizes and first bytes as the WireGuard paper has them, section 5.4.
INITIATION = b"\x01\0\0\0" + b"crafted!" * 18
LOOK = b"\x01\0\0\0" + b"crafted!"  # passes a first look alone
DATA = b"\x04\0\0\0" + b"crafted!" * 18


@pytest.fixture
def wire() -> Iterator[Wire]:
    with build() as built:
        yield built


@pytest.fixture(scope="module")
def candidates() -> CandidateFilter:
    return CandidateFilter.of(s for t in all_tunnels() for s in t.signatures)


@pytest.mark.parametrize("filter_memory", [20 << 10, 128 << 10])
def test_candidates_come_up_and_nothing_else(
    wire: Wire, candidates: CandidateFilter, filter_memory: int
) -> None:
    """With the memory for filters that Debian 12 gives, and with today's."""
    try:
        wire.gateway.sysctl("net.core.optmem_max", filter_memory)
    except FileNotFoundError:
        pytest.skip("this kernel has one limit on filters for all namespaces")
    with wire.gateway.call(lambda: MirrorCapture(["gate0"], candidates)) as mirror:
        for gateway in ("10.77.0.2", "fd77::2"):
            wire.host.call(partial(send, gateway, 51820, [DATA, INITIATION, DATA]))
        wire.gateway.call(lambda: send("10.77.0.1", 51820, [DATA, INITIATION, LOOK]))
        captured = collect(mirror, 3)
        while is_readable(mirror, 0.2):
            captured += mirror.receive()
        assert mirror.losses == {"drop": 0}
        index = wire.gateway.call(lambda: socket.if_nametoindex("gate0"))
    assert [one.packet.payload for one in captured] == [INITIATION] * 3
    assert {one.ifindex for one in captured} == {index}
    seen = {(one.packet.destination.address, one.hook) for one in captured}
    assert seen == {
        (parse_address(address), None)
        for address in ("10.77.0.2", "fd77::2", "10.77.0.1")
    }
    recogniser = Recogniser(all_tunnels())
    assert all(recogniser.recognise(one.packet) for one in captured)


def frames_with_tags(network: bytes) -> dict[str, bytes]:
    """The packet as a mirror port of a provider may bring it in."""
    ethernet = b"\xff" * 6 + b"\x02" * 6
    vlan, qinq, pppoe, ip = b"\x81\0\0\x07", b"\x88\xa8\0\x09", b"\x88\x64", b"\x08\0"
    session = b"\x11\0\0\x01" + struct.pack(">H", len(network) + 2) + b"\0\x21"
    return {
        "VLAN": ethernet + vlan + ip + network,
        "QinQ": ethernet + qinq + vlan + ip + network,
        "PPPoE": ethernet + pppoe + session + network,
        "PPPoE in QinQ": ethernet + qinq + vlan + pppoe + session + network,
    }


def test_tags_before_the_ip_header_are_looked_behind(
    wire: Wire, candidates: CandidateFilter
) -> None:
    def network(payload: bytes) -> bytes:
        size = 28 + len(payload)
        ip = struct.pack(">BxHxxxxBBxx", 0x45, size, 64, Transport.UDP)
        ends = parse_address("192.0.2.1") + parse_address("192.0.2.2")
        return ip + ends + struct.pack(">HHHxx", 9, 51820, size - 20) + payload

    def inject() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            for payload in (DATA, INITIATION):
                for frame in frames_with_tags(network(payload)).values():
                    raw.send(frame)

    with wire.gateway.call(lambda: MirrorCapture(["gate0"], candidates)) as mirror:
        wire.host.call(inject)
        captured = collect(mirror, 4)
        assert not is_readable(mirror, 0.2)
    assert [one.packet for one in captured] == [decode(network(INITIATION))] * 4


def test_losses_are_counted(wire: Wire, candidates: CandidateFilter) -> None:
    count = 3000

    def listen() -> MirrorCapture:
        return MirrorCapture(["gate0"], candidates, buffer_bytes=64 << 10)

    with wire.gateway.call(listen) as mirror:
        wire.host.call(lambda: send("10.77.0.2", 51820, [INITIATION] * count))
        received = len(mirror.receive())
        while is_readable(mirror, 0.2):
            received += len(mirror.receive())
        assert 0 < received < count
        assert mirror.losses == {"drop": count - received}
        assert mirror.losses == {"drop": count - received}


def test_a_missing_interface_is_refused_in_one_line(
    wire: Wire, candidates: CandidateFilter
) -> None:
    with pytest.raises(MissingInterface, match=r"interface nosuch0: .*; check"):
        wire.gateway.call(lambda: MirrorCapture(["gate0", "nosuch0"], candidates))


def test_an_interface_that_goes_down_and_up_is_heard_again(
    wire: Wire, candidates: CandidateFilter
) -> None:
    with wire.gateway.call(lambda: MirrorCapture(["gate0"], candidates)) as mirror:
        wire.gateway.ip("link set gate0 down")
        while is_readable(mirror, 0.2):
            assert mirror.receive() == []
        wire.gateway.ip("link set gate0 up")
        wire.host.call(lambda: send("10.77.0.2", 51820, [INITIATION]))
        assert collect(mirror, 1)


def test_without_privilege_the_missing_capability_is_named(wire: Wire) -> None:
    attempt = (
        "from vpngate.capture.candidates import CandidateFilter\n"
        "from vpngate.capture.live.mirror import MirrorCapture\n"
        "from vpngate.errors import MissingPrivilege\n"
        "try: MirrorCapture(['gate0'], CandidateFilter(['ip']))\n"
        "except MissingPrivilege as error: print(error)\n"
    )
    root = Path(__file__).parents[2]
    without = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-all")
    said = wire.gateway.run(
        *without, "env", f"PYTHONPATH={root}", sys.executable, "-c", attempt
    )
    assert said.splitlines() == [
        "interface gate0: not permitted to listen; it needs CAP_NET_RAW"
    ]


def test_a_program_too_large_for_the_kernel_is_one_line(wire: Wire) -> None:
    tests = " or ".join(f"ip[{at}:4] = {at * 7919}" for at in range(16, 2500))
    too_large = CandidateFilter([tests])
    with pytest.raises(MachineFault, match="interface gate0: cannot listen"):
        wire.gateway.call(lambda: MirrorCapture(["gate0"], too_large))
