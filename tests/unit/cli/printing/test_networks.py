# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses as people count and name them."""

import random
import time

from netaddr import IPNetwork

from vpngate.cli.printing.networks import counted, fit_for_json, named, networks
from vpngate.packets import Family
from vpngate.prefixes.intervals import Intervals


def test_the_prefixes_hold_the_addresses_and_no_other() -> None:
    for seed in range(50):
        drawn = random.Random(seed)
        texts = [f"10.0.{drawn.randrange(256)}.{drawn.randrange(256)}/32"]
        texts += [f"10.{drawn.randrange(4)}.{drawn.randrange(256)}.0/24"]
        texts += [f"2001:db8:{drawn.randrange(4):x}::/{drawn.randrange(48, 129)}"]
        texts += ["255.255.255.255/32", "ffff::/16"]
        whole = Intervals.of_prefixes(texts)
        found = [*networks(whole)]
        assert Intervals.of_prefixes(map(str, found)) == whole
        assert sum(each.size for each in found) == sum(whole.addresses.values())


def test_whole_families_are_one_prefix_each() -> None:
    whole = Intervals.of_prefixes(["0.0.0.0/0", "::/0"])
    assert [*networks(whole)] == [IPNetwork("0.0.0.0/0"), IPNetwork("::/0")]
    assert counted(whole.addresses) == f"{2**32} ipv4 addresses and {2**64} ipv6 /64"


def test_a_line_names_a_few_and_a_program_some_more() -> None:
    texts = [f"10.{n >> 8}.{n & 255}.0/25" for n in range(50_000)]
    many = Intervals.of_prefixes(texts)
    begin = time.process_time()
    assert named(many) == ", ".join([*texts[:20], "..."])
    assert named(Intervals.of_prefixes(texts[:20])) == ", ".join(texts[:20])
    assert fit_for_json(many)["prefixes"] == texts[:1000]
    brief = time.process_time() - begin
    begin = time.process_time()
    assert sum(1 for _ in networks(many)) == len(texts)
    assert brief < (time.process_time() - begin) / 2
    assert named(Intervals.empty()) == ""
    assert many.addresses[Family.IPV6] == 0
