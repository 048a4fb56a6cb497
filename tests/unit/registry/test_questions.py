# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions to a registry: how they are read, and against netaddr's own sets."""

from random import Random

import pytest
from netaddr import IPNetwork, IPSet

from tests.unit.registry.standing import stands_at
from vpngate.prefixes.intervals import Intervals
from vpngate.prefixes.prefix import Prefix, parse_prefix
from vpngate.registry import Limits, Registry, answer, carry_over, load, question
from vpngate.registry.columns.entries import Entries
from vpngate.timekeeping.moments import format_moment

NOW = 1_800_000_000.0
DAY = 86400.0


def registry(*rows: str, grace: float = 0.0) -> Registry:
    text = "\n".join(["prefix,registration,tunnels,valid_from,valid_until", *rows])
    return load(text.encode(), limits=Limits(grace=grace), now=NOW).registry


def test_what_a_text_asks_about() -> None:
    assert question("192.0.2.1").address == bytes([192, 0, 2, 1])
    assert question("::ffff:192.0.2.1").address == bytes([192, 0, 2, 1])
    assert question("2001:DB8::1").address == bytes.fromhex("20010db8" + "0" * 23 + "1")
    assert question("192.0.2.0/24").prefix == parse_prefix("192.0.2.0/24")
    assert question("::ffff:192.0.2.0/120").prefix == parse_prefix("192.0.2.0/24")
    assert question("R-1").id == "R-1"
    assert question("192.0.2").id == "192.0.2"


@pytest.mark.parametrize(
    "text",
    ["", "a b", "R" * 65, "192.0.2.1/24", "x/8", "\x1b[2J", "\u0661", "a\0", "a\n"],
)
def test_what_is_no_question(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        question(text)


def test_an_address_that_is_protected() -> None:
    protected = Intervals.of_prefixes(["198.51.100.0/25"])
    found = answer(
        registry("192.0.2.0/24,R-1"), question("198.51.100.1"), NOW, protected
    )
    assert (found["registered"], found["protected"]) == (False, True)
    found = answer(registry("192.0.2.0/24,R-1"), question("192.0.2.1"), NOW, protected)
    assert (found["registered"], found["protected"]) == (True, False)


def test_a_prefix_that_is_covered_in_part() -> None:
    known = registry(
        "192.0.2.0/25,R-1", "192.0.2.128/26,R-2", "192.0.0.0/16,R-3,,,2001-01-01"
    )
    protected = Intervals.of_prefixes(["192.0.2.0/32"])
    found = answer(known, question("192.0.2.0/24"), NOW, protected)
    assert (found["covered"], found["protected"]) == ("part", "part")
    assert not found["registered"]
    listed = [(each["registration"], each["state"]) for each in found["registrations"]]
    assert listed == [("R-2", "in force"), ("R-1", "in force"), ("R-3", "ended")]
    whole = answer(known, question("192.0.2.0/26"), NOW, protected)
    assert (whole["covered"], whole["registered"]) == ("all", True)
    none = answer(known, question("203.0.113.0/24"), NOW, protected)
    assert (none["covered"], none["protected"], none["registrations"]) == (
        "none",
        "none",
        [],
    )


def test_an_id_lists_its_prefixes_of_both_families() -> None:
    rows = ["192.0.2.0/24,R-1", "2001:db8::/32,R-1", "198.51.100.0/24,R-10"]
    found = answer(registry(*rows), question("R-1"), NOW)
    assert [each["prefix"] for each in found["registrations"]] == [
        "192.0.2.0/24",
        "2001:db8::/32",
    ]
    assert (found["registered"], found["more"]) == (True, 0)
    found = answer(registry(*rows), question("R-2"), NOW)
    assert (found["registered"], found["registrations"]) == (False, [])


def test_states() -> None:
    ended, begins = format_moment(NOW - DAY), format_moment(NOW + DAY)
    known = registry(
        f"192.0.2.0/24,R-1,,,{ended}", f"198.51.100.0/24,R-1,,{begins},", grace=2 * DAY
    )
    found = answer(known, question("R-1"), NOW)
    states = [each["state"] for each in found["registrations"]]
    assert states == ["in grace", "not yet"]
    assert found["registered"]
    found = answer(known, question("R-1"), NOW + 1.5 * DAY)
    assert [each["state"] for each in found["registrations"]] == ["ended", "in force"]


def test_who_was_removed_is_found_by_id_and_prefix() -> None:
    old, new = registry("192.0.2.0/24,R-1"), registry("203.0.113.0/24,R-2")
    both = carry_over(old, new, DAY, NOW)
    for asked in ("R-1", "192.0.2.0/25", "192.0.0.0/16"):
        found = answer(both, question(asked), NOW)
        (one,) = found["registrations"]
        assert (one["registration"], one["state"]) == ("R-1", "in grace")


def test_a_long_answer_is_cut_and_says_so() -> None:
    known = registry(*(f"10.{n >> 8}.{n & 255}.0/24,R-1" for n in range(1500)))
    for asked in ("R-1", "10.0.0.0/8"):
        found = answer(known, question(asked), NOW)
        assert (len(found["registrations"]), found["more"]) == (1000, 500)


@pytest.mark.parametrize("seed", range(4))
def test_against_netaddr(seed: int) -> None:
    random = Random(seed)

    def prefix() -> str:
        return _four(random) if random.random() < 0.5 else _six(random)

    rows = {prefix(): f"R-{random.randrange(5)}" for _ in range(60)}
    ends = {each: random.choice(["", format_moment(NOW - DAY)]) for each in rows}
    known = registry(*(f"{each},{name},,,{ends[each]}" for each, name in rows.items()))
    standing = {each for each in rows if not ends[each]}
    for asked in [*rows, *(prefix() for _ in range(60))]:
        network = IPNetwork(asked)
        touching = {
            each
            for each in rows
            if IPNetwork(each) in network or network in IPNetwork(each)
        }
        found = answer(known, question(asked), NOW)
        assert {each["prefix"] for each in found["registrations"]} == touching, seed
        common = IPSet([network]) & IPSet(standing)
        share = {0: "none", network.size: "all"}.get(common.size, "part")
        assert found["covered"] == share, (seed, asked)
    for name in set(rows.values()):
        found = answer(known, question(name), NOW)
        own = {each for each, whose in rows.items() if whose == name}
        assert {each["prefix"] for each in found["registrations"]} == own, seed
        assert found["registered"] == bool(own & standing)
        called = known.called(name, NOW, 100)
        assert any(stands_at(each, NOW) for each in called.first) == found["registered"]


def _four(random: Random) -> str:
    a, b, length = random.randrange(4), random.randrange(8), random.randrange(10, 27)
    return str(IPNetwork(f"10.{a}.{b}.0/{length}").cidr)


def _six(random: Random) -> str:
    group, length = random.randrange(4), random.randrange(33, 66)
    return str(IPNetwork(f"2001:db8:{group:x}::/{length}").cidr)


def test_a_wide_question_makes_no_object_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand are told: of the others there is a count, not an object."""
    rows = [f"10.{n >> 8}.{n & 255}.0/24,R-1" for n in range(5000)]
    known = registry(*rows, "10.0.0.0/30,R-2", "10.0.0.0/8,R-3,,,2001-01-01")
    made = 0
    prefix_of = Entries.prefix

    def counted(entries: Entries, row: int) -> Prefix:
        nonlocal made
        made += 1
        return prefix_of(entries, row)

    monkeypatch.setattr(Entries, "prefix", counted)
    for asked, more in (("0.0.0.0/0", 4002), ("10.0.0.0/9", 4002), ("R-1", 4000)):
        found = answer(known, question(asked), NOW)
        assert found["more"] == more
        assert made <= 1000
        made = 0
    found = answer(known, question("10.0.0.0/9"), NOW, most=2)
    told = [each["registration"] for each in found["registrations"]]
    assert (told, found["more"], found["covered"]) == (["R-2", "R-1"], 5000, "part")
