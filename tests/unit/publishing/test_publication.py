# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from rows, a wish and the publication before; all that is against it."""

import gzip
from dataclasses import replace

import pytest

from tests.faults.signing import Signer
from tests.unit.publishing.secret_keys import key_file
from vpngate.errors import InvalidRegistry, RegistryRefused
from vpngate.feed.minisign import verify
from vpngate.publishing.publication import (
    Present,
    Publication,
    Wish,
    misfit,
    prepare,
)
from vpngate.publishing.secret_key import SecretKey, read_secret_key
from vpngate.registry import Accept, GuardSettings, Limits, Loaded, load

NOW = 1_800_000_000
DAY = 86400
SIGNER = Signer()
ROWS = "".join(f"10.0.{n}.0/24,R-{n}\n" for n in range(40))
WISH = Wish("portal", "registry.json", 7 * DAY)


def rows(text: str, most: int = 20) -> Loaded:
    data = ("prefix,registration\n" + text).encode()
    return load(data, limits=Limits(max_problems=most, max_rejected=1.0), now=NOW)


def key(signer: Signer = SIGNER) -> SecretKey:
    return read_secret_key(key_file(signer), "key", str)


def present(publication: Publication) -> Present:
    loaded = load(publication.data, limits=Limits(), now=NOW)
    return Present(loaded.registry, publication.data, publication.signature)


def test_the_first_and_the_next() -> None:
    wish = replace(WISH, key=key(), sentinels=("10.0.0.0/24",), suspend="a mistake")
    first = prepare(rows(ROWS), wish, None, NOW)
    assert first.registry.name == "portal"
    assert (first.registry.serial, first.registry.suspend) == (1, "a mistake")
    assert (first.registry.generated, first.registry.expires) == (NOW, NOW + 7 * DAY)
    assert first.registry.sentinels == ("10.0.0.0/24",)
    assert len(first.registry) == 40
    assert first.signature is not None
    signed = verify(first.data, first.signature, key().public, "here")
    assert signed.timestamp == NOW
    assert signed.trusted_comment.split("\t") == [
        f"timestamp:{NOW}",
        "file:registry.json",
        "registry:portal",
        "serial:1",
        "hashed",
    ]
    second = prepare(rows(ROWS), WISH, present(first), NOW)
    assert (second.registry.serial, second.registry.suspend) == (2, "")
    assert (second.signature, second.key_id) == (None, "")


def test_the_same_makes_the_same() -> None:
    backwards = "".join(reversed(ROWS.splitlines(keepends=True)))
    wish = replace(WISH, key=key())
    made = [prepare(rows(each), wish, None, NOW) for each in (ROWS, backwards)]
    assert made[0].data == made[1].data
    assert made[0].signature == made[1].signature


def test_a_serial_is_never_older_than_the_one_before() -> None:
    hundred = prepare(rows(ROWS), replace(WISH, serial=100), None, NOW)
    assert hundred.registry.serial == 100
    before = present(hundred)
    for wanted, made in ((1, 101), (100, 101), (101, 101), (200, 200)):
        next_one = prepare(rows(ROWS), replace(WISH, serial=wanted), before, NOW)
        assert next_one.registry.serial == made
    with pytest.raises(InvalidRegistry, match="serial: is not a whole number from 0"):
        prepare(rows(ROWS), replace(WISH, serial=2**53), None, NOW)


def test_a_file_that_ends_in_gz_is_packed() -> None:
    wish = replace(WISH, file="registry.json.gz", key=key())
    packed = prepare(rows(ROWS), wish, None, NOW)
    plain = prepare(rows(ROWS), WISH, None, NOW)
    assert gzip.decompress(packed.data) == plain.data
    assert packed.registry.digest == plain.registry.digest
    assert packed.data == prepare(rows(ROWS), wish, None, NOW).data


def test_bad_rows_envelope_and_guard_are_told_at_once() -> None:
    bad = "10.0.0.1/24,R-1\n10.0.1.0/24,R 1\n0.0.0.0/0,R-2\n127.0.0.0/24,R-3\n"
    with pytest.raises(InvalidRegistry) as caught:
        prepare(rows(bad, most=1), WISH, None, NOW)
    lines = caught.value.lines
    assert len(lines) == 4
    for words in (
        "line 2, prefix: '10.0.0.1/24' has host bits set",
        "2 of 4 rows cannot be used",
        "0.0.0.0/0 as R-2: is a default route",
        "127.0.0.0/24 as R-3: is in a range that no VPN server is in",
    ):
        assert any(words in line for line in lines), words
    wish = replace(WISH, sentinels=("10.0.0.1/24",), suspend="x" * 257, name="a\nb")
    with pytest.raises(InvalidRegistry) as caught:
        prepare(rows(bad), wish, None, NOW)
    told = str(caught.value)
    assert "line 2, prefix" in told
    for words in ("sentinels: is not a", "suspend: is not a", "registry: is not a"):
        assert words in told


def test_what_has_an_envelope_is_no_list_of_rows() -> None:
    first = prepare(rows(ROWS), WISH, None, NOW)
    again = load(first.data, limits=Limits(), now=NOW)
    with pytest.raises(InvalidRegistry, match="has an envelope already"):
        prepare(again, WISH, None, NOW)


@pytest.mark.parametrize(
    ("fewer", "name", "wanted"),
    [
        (ROWS.split("10.0.30")[0], "portal", Accept.REMOVALS),
        ("", "portal", Accept.REMOVALS),
        (ROWS + "10.64.0.0/10,R-1\n", "portal", Accept.ADDITIONS),
        (ROWS, "another", Accept.OLDER),
    ],
)
def test_what_gateways_would_refuse(fewer: str, name: str, wanted: Accept) -> None:
    before = present(prepare(rows(ROWS), WISH, None, NOW))
    wish = replace(WISH, name=name)
    others = [accept for accept in Accept if accept != wanted]
    with pytest.raises(RegistryRefused) as caught:
        prepare(rows(fewer), replace(wish, accept=others), before, NOW)
    assert all(line.startswith("registry.json: ") for line in caught.value.lines)
    made = prepare(rows(fewer), replace(wish, accept=[wanted]), before, NOW)
    assert {each.reason.accept for each in made.accepted} == {wanted}
    assert made.registry.serial == 2


def test_what_nobody_may_accept_and_who_may_allow_it() -> None:
    special, everything = "127.0.0.0/24,R-1\n", list(Accept)
    with pytest.raises(RegistryRefused, match="no VPN server is in"):
        prepare(rows(special), replace(WISH, accept=everything), None, NOW)
    allowed = replace(WISH, guard=GuardSettings(allow_special=True))
    assert len(prepare(rows(special), allowed, None, NOW).registry) == 1


def test_a_sentinel_that_is_not_registered() -> None:
    wish = replace(WISH, sentinels=("192.0.2.0/24",))
    with pytest.raises(RegistryRefused, match=r"sentinel 192\.0\.2\.0/24: is not"):
        prepare(rows(ROWS), wish, None, NOW)


def test_more_than_gateways_fetch() -> None:
    many = "".join(f"2001:db8:{n:x}::/48,{'x' * 64}\n" for n in range(5000))
    wish = replace(WISH, limits=Limits(max_rows=5000))
    with pytest.raises(
        InvalidRegistry, match=r"bytes, more than the .* registry.json.gz"
    ):
        prepare(rows(many), wish, None, NOW)
    packed = replace(wish, file="registry.json.gz")
    assert len(prepare(rows(many), packed, None, NOW).registry) == 5000


def test_a_clock_that_is_behind_the_one_before() -> None:
    """Gateways refuse what was signed before the one that stands."""
    wish = replace(WISH, key=key())
    before = present(prepare(rows(ROWS), wish, None, NOW))
    assert prepare(rows(ROWS), wish, before, NOW).registry.serial == 2
    with pytest.raises(RegistryRefused, match="later than now; set the clock"):
        prepare(rows(ROWS), wish, before, NOW - 1)
    accepted = replace(wish, accept=[Accept.OLDER])
    assert prepare(rows(ROWS), accepted, before, NOW - 1).registry.serial == 2


def test_a_signature_that_does_not_fit_is_told() -> None:
    made = prepare(rows(ROWS), replace(WISH, key=key()), None, NOW)
    good = present(made)
    assert misfit(None, key(), "here") == ""
    assert misfit(good, None, "here") == ""
    assert misfit(good, key(), "here") == ""
    assert misfit(good, key(Signer()), "here") == "", "keys may change"
    torn = replace(good, data=good.data + b"\n")
    assert "does not fit the registry" in misfit(torn, key(), "here")
    assert "not a minisign signature" in misfit(
        replace(good, signature=b"?"), key(), "here"
    )
