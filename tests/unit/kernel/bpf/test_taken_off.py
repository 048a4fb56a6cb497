# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kinds of interfaces, told what, need what a pair takes off packets.

They are tried with packets in tests/netns/test_bpf_left_alone.py.
"""

import struct
from pathlib import Path

import pytest

from vpngate.kernel.bpf import taken_off
from vpngate.kernel.bpf.taken_off import own_need
from vpngate.kernel.wire.attributes import attribute
from vpngate.kernel.wire.link_details import LinkDetails, read_details

OFF, ON = b"\0", b"\1"


def told(kind: str, options: dict[int, bytes], port: dict[int, bytes]) -> LinkDetails:
    """As the kernel answers, with attributes that nobody asks for."""

    def nested(number: int, those: dict[int, bytes]) -> bytes:
        each = (attribute(key, value) for key, value in those.items())
        return attribute(number, b"".join(each), nested=True)

    info = attribute(1, kind.encode() + b"\0") + nested(2, options)
    info += attribute(4, b"bridge\0") + nested(5, port)
    head = struct.pack("=BxHiII", 0, 1, 7, 0x1043, 0)
    parts = attribute(3, b"one0\0") + attribute(4, struct.pack("=I", 1400))
    parts += attribute(5, struct.pack("=I", 2)) + attribute(18, info, nested=True)
    return read_details(head + parts)


def need(kind: str, options: dict[int, bytes] | None = None) -> str:
    found = own_need(told(kind, options or {}, {}))
    return found.why if found else ""


def test_an_answer_is_read() -> None:
    read = told("vxlan", {25: ON}, {29: ON})
    assert (read.index, read.name, read.kind, read.lower) == (7, "one0", "vxlan", 2)
    assert (read.options, read.as_port) == ({25: ON}, {29: ON})


EXTERNAL, DF = 25, 29
CASES: list[tuple[str, dict[int, bytes], str]] = [
    ("veth", {EXTERNAL: ON, DF: ON}, ""),
    ("", {}, ""),
    ("tun", {}, ""),
    ("vxlan", {}, ""),
    ("vxlan", {EXTERNAL: OFF, DF: OFF}, ""),
    ("vxlan", {EXTERNAL: ON, DF: OFF}, "(vxlan external)"),
    ("vxlan", {EXTERNAL: OFF, DF: b"\2"}, "(vxlan with df)"),
    *(
        (kind, {}, f"({kind}) that has not been tried")
        for kind in ("geneve", "ipip", "sit", "ip6tnl", "gre", "gretap", "ip6gre")
    ),
    *(
        (kind, {}, f"({kind}) that has not been tried")
        for kind in ("xfrm", "vti", "ovpn", "gtp", "wireguard", "vrf")
    ),
]


@pytest.mark.parametrize(("kind", "options", "words"), CASES)
def test_kinds(kind: str, options: dict[int, bytes], words: str) -> None:
    found = need(kind, options)
    assert words in found
    assert bool(found) is bool(words)


def test_a_bridge_that_gives_each_packet_its_tunnel() -> None:
    assert own_need(told("vxlan", {EXTERNAL: ON}, {29: OFF}))
    assert own_need(told("vxlan", {EXTERNAL: ON}, {29: ON})) is None


def test_bridges_where_netfilter_sees_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taken_off, "_SYSCTL", tmp_path)
    assert need("bridge", {36: ON}) == ""  # br_netfilter is not loaded
    for name in ("iptables", "ip6tables"):
        (tmp_path / f"bridge-nf-call-{name}").write_text("0\n")
    assert need("bridge") == ""
    assert "(nf_call_ip6tables)" in need("bridge", {37: ON})
    (tmp_path / "bridge-nf-call-ip6tables").write_text("1\n")
    assert "(net.bridge.bridge-nf-call-ip6tables)" in need("bridge")
