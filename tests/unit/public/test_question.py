# SPDX-License-Identifier: GPL-2.0-or-later
"""What people type is read as they mean it, or answered by one clear line."""

import pytest

from vpngate.public.question import LONGEST, about, parse_question


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("  203.0.113.7\t", "203.0.113.7"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0:0::0001", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("::/0", "::/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::ffff:0:0/95", "::fffe:0:0/95"),
    ],
)
def test_an_address_or_a_prefix(typed: str, meant: str) -> None:
    assert str(parse_question(typed)) == meant


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("", "Type an IPv4"),
        ("   ", "Type an IPv4"),
        ("vpn.example.net", "is no address"),
        ("https://vpn.example.net/", "is no address"),
        ("fe80::1%eth0", "Leave out the % sign"),
        ("203.0.113.7:51820", "Leave out brackets and port"),
        ("[2001:db8::1]:51820", "Leave out brackets and port"),
        ("[2001:db8::1]", "Leave out brackets and port"),
        ("203.0.113.300", "is no address"),
        ("203.0.113.7/33", "is no address"),
        ("203.0.113.007", "is no address"),
        ("0xcb007107", "is no address"),
        ("203.0.113", "is no address"),
        ("2001:db8:::1", "is no address"),
        ("\uff12\uff10\uff13.0.113.7", "is no address"),
        ("203.0.113.7\n203.0.113.8", r"“203.0.113.7\n203.0.113.8” is no address"),
        ("<script>", "is no address"),
        ("\x00", r"“\x00” is no address"),
        ("9" * 5000, "too long"),
    ],
)
def test_anything_else_gets_one_clear_line(typed: str, word: str) -> None:
    with pytest.raises(ValueError, match=r"\.") as refused:
        parse_question(typed)
    line = str(refused.value)
    assert word in line
    assert "\n" not in line
    assert len(line) < LONGEST + 200


def test_what_is_private_is_told_apart() -> None:
    for text in ("10.1.2.3", "172.31.0.0/16", "192.168.1.1", "fd00::1"):
        assert parse_question(text).is_private
    for text in ("100.64.1.1", "172.0.0.0/8", "203.0.113.7", "2001:db8::1", "::/0"):
        assert not parse_question(text).is_private


def test_an_address_in_disguise_is_the_one_that_is_meant() -> None:
    packed = bytes(10) + b"\xff\xff" + bytes([203, 0, 113, 7])
    assert about(packed) == parse_question("203.0.113.7")
    assert about(packed).is_address
