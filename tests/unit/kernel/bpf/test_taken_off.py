# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kinds of interfaces, told what, need what a pair takes off packets.

Those that this kernel may not have are read as it would tell of them; the others are
tried live (tests/netns/test_bpf_left_alone.py).
"""

import struct
from pathlib import Path

import pytest

from vpngate.kernel.bpf import taken_off
from vpngate.kernel.bpf.taken_off import own_need
from vpngate.kernel.wire.attributes import attribute
from vpngate.kernel.wire.link_details import LinkDetails, read_details

V4, ANY_V4 = bytes((10, 0, 0, 2)), bytes(4)
V6, ANY_V6 = bytes(15) + b"\1", bytes(16)
FLAG, OFF, ON = b"", b"\0", b"\1"
# linux/if_tunnel.h and if_link.h
REMOTE, DISCOVERS, EXTERNAL = 3, 10, 19
GRE_REMOTE, GRE_EXTERNAL = 7, 18


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


CASES = [
    ("veth", {25: ON, 19: FLAG}, ""),
    ("", {}, ""),
    ("vxlan", {25: OFF, 29: OFF}, ""),
    ("vxlan", {25: ON, 29: OFF}, "(vxlan external)"),
    ("vxlan", {29: b"\2"}, "(vxlan with df)"),
    ("geneve", {6: FLAG}, "(geneve external)"),
    ("geneve", {13: ON}, "(geneve with df)"),
    ("geneve", {13: OFF}, ""),
    ("bareudp", {}, "(bareudp)"),
    ("gtp", {}, "(gtp)"),
    ("ipip", {REMOTE: V4, DISCOVERS: OFF}, ""),
    ("ipip", {REMOTE: V4, DISCOVERS: ON}, "(ipip with pmtudisc)"),
    ("ipip", {REMOTE: ANY_V4, DISCOVERS: OFF}, "(ipip without a remote end)"),
    ("ipip", {REMOTE: V4, DISCOVERS: OFF, EXTERNAL: FLAG}, "(ipip external)"),
    ("sit", {REMOTE: ANY_V4}, "(sit without a remote end)"),
    ("ip6tnl", {REMOTE: V6}, "(ip6tnl, over IPv6)"),
    ("ip6tnl", {REMOTE: ANY_V6}, "(ip6tnl without a remote end)"),
    ("ip6tnl", {REMOTE: V6, EXTERNAL: FLAG}, "(ip6tnl external)"),
    ("gre", {GRE_REMOTE: ANY_V4}, "(gre without a remote end)"),
    ("gretap", {GRE_REMOTE: V4, DISCOVERS: OFF}, ""),
    ("gretap", {GRE_REMOTE: V4, DISCOVERS: ON}, "(gretap with pmtudisc)"),
    ("gretap", {GRE_REMOTE: V4, GRE_EXTERNAL: FLAG}, "(gretap external)"),
    ("erspan", {GRE_EXTERNAL: FLAG}, "(erspan external)"),
    ("ip6gretap", {GRE_REMOTE: V6}, "(ip6gretap, over IPv6)"),
    ("xfrm", {}, "IPsec has let in (xfrm)"),
    ("vti", {}, "IPsec has let in (vti)"),
    ("ovpn", {1: ON}, "(ovpn with several peers)"),
    ("ovpn", {1: OFF}, ""),
    ("ovpn-dco-v2", {}, "(ovpn-dco-v2 with several peers)"),
]


@pytest.mark.parametrize(("kind", "options", "words"), CASES)
def test_kinds(kind: str, options: dict[int, bytes], words: str) -> None:
    found = need(kind, options)
    assert words in found
    assert bool(found) is bool(words)


def test_a_bridge_that_gives_each_packet_its_tunnel() -> None:
    assert own_need(told("vxlan", {25: ON}, {29: OFF}))
    assert own_need(told("vxlan", {25: ON}, {29: ON})) is None


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
