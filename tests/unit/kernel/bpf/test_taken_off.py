# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kinds of interfaces, told what, need what a pair takes off packets.

They are tried with packets in tests/netns/test_bpf_left_alone.py.
"""

import struct
from pathlib import Path

import pytest

from vpngate.kernel.bpf import taken_off
from vpngate.kernel.bpf.needs import kernel_release
from vpngate.kernel.bpf.taken_off import own_need
from vpngate.kernel.wire.attributes import attribute
from vpngate.kernel.wire.link_details import LinkDetails, read_details

OFF, ON = b"\0", b"\1"


def told(
    kind: str,
    options: dict[int, bytes],
    port: dict[int, bytes],
    hardware: int = 1,
    beside: bytes = b"",
) -> LinkDetails:
    """As the kernel answers, with attributes that nobody asks for."""

    def nested(number: int, those: dict[int, bytes]) -> bytes:
        each = (attribute(key, value) for key, value in those.items())
        return attribute(number, b"".join(each), nested=True)

    info = attribute(1, kind.encode() + b"\0") + nested(2, options)
    info += attribute(4, b"bridge\0") + nested(5, port)
    head = struct.pack("=BxHiII", 0, hardware, 7, 0x1043, 0)
    parts = attribute(3, b"one0\0") + attribute(4, struct.pack("=I", 1400))
    parts += attribute(5, struct.pack("=I", 2)) + attribute(6, b"htb\0")
    parts += attribute(18, info, nested=True)
    return read_details(head + parts + beside)


def need(kind: str, options: dict[int, bytes] | None = None) -> str:
    found = own_need(told(kind, options or {}, {}))
    return found.why if found else ""


def test_an_answer_is_read() -> None:
    read = told("vxlan", {25: ON}, {29: ON})
    assert (read.index, read.name, read.kind, read.lower) == (7, "one0", "vxlan", 2)
    assert (read.options, read.as_port) == ({25: ON}, {29: ON})
    assert (read.hardware, read.queue) == (1, "htb")
    assert (read.switched, read.generic_xdp) == (False, False)


GROUP6, LOCAL6, EXTERNAL, DF = 16, 17, 25, 29
CASES: list[tuple[str, dict[int, bytes], str]] = [
    ("veth", {EXTERNAL: ON, DF: ON}, ""),
    ("", {}, ""),
    ("tun", {}, ""),
    ("vxlan", {}, ""),
    ("vxlan", {EXTERNAL: OFF, DF: OFF}, ""),
    ("vxlan", {EXTERNAL: ON, DF: OFF}, "(vxlan external)"),
    ("vxlan", {EXTERNAL: OFF, DF: b"\2"}, "(vxlan with df)"),
    ("vxlan", {GROUP6: b"\xfd" + bytes(15)}, "(vxlan over IPv6)"),
    ("vxlan", {LOCAL6: bytes(15) + ON}, "(vxlan over IPv6)"),
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


def test_ports_of_switches_that_forward_by_themselves() -> None:
    port = told("", {}, {}, beside=attribute(36, b"\1\2\3\4\5\6"))
    assert port.switched
    need = own_need(port)
    assert need is not None
    assert "port of a switch" in need.why


PPP, TUN = 512, 65534


@pytest.mark.parametrize(
    ("version", "left_alone"),
    [((5, 18), True), ((6, 5), True), ((6, 6), False), ((7, 0), False), (None, True)],
)
@pytest.mark.parametrize("kind", ["ppp", "tun", ""])
def test_ppp_by_its_kernel(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    version: tuple[int, int] | None,
    left_alone: bool,  # noqa: FBT001 - a case
) -> None:
    """By what the kernel asks itself, whoever made such a device."""
    monkeypatch.setattr(kernel_release, "running", lambda: version)
    need = own_need(told(kind, {}, {}, PPP))
    assert (need is not None) is left_alone
    assert need is None or "(PPP before Linux 6.6)" in need.why
    assert own_need(told("tun", {}, {}, TUN)) is None


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.1.0-18-amd64", (6, 1)), ("6.18", (6, 18)), ("7.0-rc1", (7, 0)), ("x", None)],
)
def test_a_release_is_read(
    monkeypatch: pytest.MonkeyPatch, release: str, version: tuple[int, int] | None
) -> None:
    class Uname:
        def __init__(self) -> None:
            self.release = release

    monkeypatch.setattr("os.uname", Uname)
    assert kernel_release.running() == version


def xdp(number: int, program: int) -> bytes:
    """A program by its way: 5 by its driver, 6 generic, beside how it is attached."""
    told = attribute(2, b"\2") + attribute(number, struct.pack("=I", program))
    return attribute(43, told, nested=True)


@pytest.mark.parametrize(
    ("beside", "generic"),
    [(xdp(6, 17), True), (xdp(5, 17), False), (attribute(43, b""), False)],
)
def test_programs_behind_a_driver(
    monkeypatch: pytest.MonkeyPatch,
    beside: bytes,
    generic: bool,  # noqa: FBT001 - a case
) -> None:
    link = told("veth", {}, {}, beside=beside)
    assert link.generic_xdp is generic
    for version, again in (((6, 3), generic), ((6, 4), False)):
        monkeypatch.setattr(kernel_release, "running", lambda one=version: one)
        need = taken_off._of_what_comes_in_first(link)
        assert (need is not None) is again
