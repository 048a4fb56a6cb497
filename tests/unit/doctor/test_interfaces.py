# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of the interfaces that the configuration means."""

from dataclasses import replace

import pytest

from tests.unit.doctor.settings import config
from vpngate.doctor.findings import Finding, Weight
from vpngate.doctor.interfaces import judge_interfaces
from vpngate.kernel.wire.links import Link

LAN0 = Link(2, "lan0", up=True, hardware=1)


def judged(gateway: str, *links: Link) -> list[Finding]:
    by_name = {link.name: link for link in links}
    return list(judge_interfaces(config(gateway=gateway), by_name, list(by_name)))


@pytest.mark.parametrize(
    ("link", "weight", "words"),
    [
        (LAN0, Weight.SOUND, "hardware, Ethernet, up"),
        (replace(LAN0, kind="veth"), Weight.SOUND, "veth, Ethernet, up"),
        (replace(LAN0, hardware=512), Weight.SOUND, "hardware, PPP, up"),
        (replace(LAN0, hardware=65534, kind="tun"), Weight.SOUND, "tun, bare IP, up"),
        (replace(LAN0, up=False), Weight.COST, "hardware, Ethernet, is down"),
        (replace(LAN0, hardware=32), Weight.COST, "ARPHRD 32"),
    ],
)
def test_an_interface(link: Link, weight: Weight, words: str) -> None:
    (finding,) = judged('interfaces = ["lan0"]', link)
    assert (finding.weight, finding.where) == (weight, "interface lan0")
    assert words in finding.what


def test_no_program_takes_a_header_that_it_does_not_know_for_bare_ip() -> None:
    """Whoever asks for programs says that it is left alone."""
    strange = replace(LAN0, hardware=280)
    (rules,) = judged('interfaces = ["lan0"]', strange)
    (programs,) = judged('interfaces = ["lan0"]\nplane = "ebpf"', strange)
    assert "takes for bare IP" in rules.what
    assert (programs.weight, programs.what) == (
        Weight.SOUND,
        "hardware, ARPHRD 280, up",
    )


def test_a_name_that_there_is_not() -> None:
    missing, present = judged('interfaces = ["lan0", "lan7", "ppp*"]', LAN0)
    assert (missing.weight, missing.where) == (Weight.COST, "interface lan7")
    assert "once it comes" in missing.remedy
    assert present.where == "interface lan0"


def test_behind_a_mirror_a_name_has_to_be_there() -> None:
    mirror = config('[capture]\nsource = "mirror"', 'interfaces = ["lan7"]')
    [missing] = judge_interfaces(mirror, {}, [])
    assert (missing.weight, missing.where) == (Weight.MISSING, "interface lan7")


def test_an_ifb_is_nobodys_interface() -> None:
    ifb = Link(3, "lan1", up=True, hardware=1, kind="ifb")
    [finding] = judge_interfaces(
        config(gateway='interfaces = ["lan1"]'), {"lan1": ifb}, []
    )
    assert finding.weight is Weight.COST
    assert "is an ifb" in finding.what


def test_globs_that_match_nothing_yet() -> None:
    (finding,) = judged('interfaces = ["ppp*", "tun?"]')
    assert (finding.weight, finding.where) == (Weight.COST, "interfaces ppp*, tun?")


def test_interfaces_that_stand_on_each_other() -> None:
    vlan = Link(3, "lan0.7", up=True, hardware=1, parent=2)
    lower, upper = judged('interfaces = ["lan*"]', LAN0, vlan)
    assert (lower.weight, lower.where) == (Weight.COST, "interface lan0")
    assert "lan0.7 stands on it" in lower.what
    assert (upper.weight, upper.where) == (Weight.SOUND, "interface lan0.7")


def test_interfaces_that_are_alike_are_one_line() -> None:
    up = [Link(n, f"ppp{n}", up=True, hardware=512) for n in range(1, 8)]
    down = Link(8, "ppp8", up=False, hardware=512)
    sound, cost = judged('interfaces = ["ppp*"]', *up, down)
    assert sound.where == "interfaces ppp1, ppp2, ppp3, ppp4 and 3 more"
    assert (cost.weight, cost.where) == (Weight.COST, "interface ppp8")


def test_a_vrf_and_what_is_outside_of_it() -> None:
    vrf = Link(9, "lan9", up=True, hardware=1, kind="vrf")
    ports = [Link(n, f"lan{n}", up=True, hardware=1, master=9) for n in (3, 4)]
    outside = [Link(n, f"lan{n}", up=True, hardware=1) for n in (5, 6)]
    sound, others, itself = judged('interfaces = ["lan*"]', *ports, *outside, vrf)
    assert (sound.weight, sound.where) == (Weight.SOUND, "interfaces lan3, lan4")
    assert (others.weight, others.where) == (Weight.COST, "interfaces lan5, lan6")
    assert "in none" in others.what
    assert (itself.weight, itself.where) == (Weight.COST, "interface lan9")
    assert "a VRF" in itself.what
