# SPDX-License-Identifier: GPL-2.0-or-later
"""Signature files as published by the author of minisign, and broken ones."""

from base64 import b64decode, b64encode

import pytest

from vpngate.errors import FeedFault
from vpngate.feed.faults import Reason
from vpngate.feed.minisign import DetachedSignature, PublicKey, verify

# A key pair made once for these tests by minisign 0.11; the secret half is gone.
# Signed with it: DATA, prehashed and legacy.
KEY = "RWQ4EHftoU9d9cFUyhdu2v7Pxa2/a0sBnN7u+4VJfZs+f0PKdToQL3iB"
KEY_ID = "F55D4FA1ED771038"
DATA = b"prefix,registration\n192.0.2.0/24,R-1\n"
PREHASHED = b"""\
untrusted comment: signature from minisign secret key
RUQ4EHftoU9d9bU4zMET71X6eXhbUwI1scs18fcGIyn4hlPoZ2F+8ofe2ZIczZaJQni2OtBOXXXrJBKkZxbIRDzYthMM9JTqpA0=
trusted comment: timestamp:1700000000\tfile:registry.csv\thashed
mhNU0hq5wLGFfM45ui/H1k66QHKiWNLcLE62BoEfRtn5A+DnFjvM/s+v8TNkezlbbmAOuwEh9afy6DSW5ukSCw==
"""
LEGACY = b"""\
untrusted comment: signature from minisign secret key
RWQ4EHftoU9d9YmUeNu3/D00haIZMkWNgyMHk/cZ4LEbIs3TPdM7vshlWtKzIzPvDRcTtumSuMvJanHzWKr8vW4rqy89SFV6ew0=
trusted comment: timestamp:1700000000\tfile:registry.csv
1UFLUxM5DkptaTf/OndXX4HEw3Zc/PLSPHf6uD89ueGYbaztuxjv8gMNZD17t7O5a6cr02I9lehjur5odfWLBw==
"""

LINES = PREHASHED.decode().splitlines()


def joined(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("content", [PREHASHED, LEGACY], ids=["prehashed", "legacy"])
def test_verifies(content: bytes) -> None:
    signature = verify(DATA, content, PublicKey.parse(KEY), "here")
    assert signature.key_id == KEY_ID
    assert signature.prehashed is (content == PREHASHED)
    assert signature.timestamp == 1_700_000_000
    windows = content.replace(b"\n", b"\r\n")
    assert verify(DATA, windows, PublicKey.parse(KEY), "here") == signature
    assert verify(DATA, content.rstrip(), PublicKey.parse(KEY), "here") == signature


@pytest.mark.parametrize("content", [PREHASHED, LEGACY], ids=["prehashed", "legacy"])
def test_every_bit_counts(content: bytes) -> None:
    """Whatever is changed behind the untrusted comment, or in the data, is noticed."""
    key = PublicKey.parse(KEY)
    start = content.index(b"\n") + 1
    for position in range(start, len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        try:
            found = verify(DATA, bytes(changed), key, "here")
        except FeedFault:
            continue
        # Base64 leaves bits of its last letter unused; a decoder may ignore them.
        assert found == DetachedSignature.parse(content, "here")
    for position in range(len(DATA)):
        other = bytearray(DATA)
        other[position] ^= 1
        with pytest.raises(FeedFault):
            verify(bytes(other), content, key, "here")


def test_algorithms_are_not_interchangeable() -> None:
    raw = bytearray(b64decode(LINES[1]))
    raw[1] ^= 0x20
    content = joined(LINES[0], b64encode(raw).decode(), *LINES[2:])
    with pytest.raises(FeedFault) as caught:
        verify(DATA, content, PublicKey.parse(KEY), "here")
    assert caught.value.reason == Reason.SIGNATURE_WRONG


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "1 lines instead of 4"),
        (b"\xff\xfe", "not text"),
        (joined(*LINES[:3]), "3 lines"),
        (joined(*LINES, "more"), "5 lines"),
        (joined("comment", *LINES[1:]), "no comment lines"),
        (joined(*LINES[:2], "trusted", LINES[3]), "no comment lines"),
        (joined(LINES[0], "ä", *LINES[2:]), "not base64"),
        (joined(LINES[0], "====", *LINES[2:]), "not base64"),
        (joined(LINES[0], "UkQ=", *LINES[2:]), "2 bytes instead of 74"),
        (joined(*LINES[:3], LINES[1]), "74 bytes instead of 64"),
        (joined(LINES[0], "QUFB" + LINES[1][4:], *LINES[2:]), "neither Ed nor ED"),
    ],
)
def test_malformed(content: bytes, words: str) -> None:
    with pytest.raises(FeedFault, match=words) as caught:
        DetachedSignature.parse(content, "here")
    assert caught.value.reason == Reason.SIGNATURE_MALFORMED
    assert len(caught.value.lines) == 1
    assert str(caught.value).startswith("here: ")


@pytest.mark.parametrize(
    ("comment", "timestamp"),
    [
        ("timestamp:5\tfile:x", 5),
        ("file:x\ttimestamp:6", 6),
        ("timestamp:7", 7),
        ("file:timestamp:8", None),
        ("timestamp:-9", None),
        ("timestamp:1234567890123", None),
        ("timestamp:\u0661", None),
        ("", None),
    ],
)
def test_timestamp(comment: str, timestamp: int | None) -> None:
    content = joined(*LINES[:2], f"trusted comment: {comment}", LINES[3])
    assert DetachedSignature.parse(content, "here").timestamp == timestamp


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one line that starts with RW"),
        ("a\nb\nc", "one line that starts with RW"),
        ("RWnonsense", "not base64"),
        ("RWQ=", "2 bytes instead of 42"),
        ("QUFB" + KEY[4:], "not for Ed25519"),
    ],
)
def test_no_public_key(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PublicKey.parse(text)


def test_public_key() -> None:
    key = PublicKey.parse(f"untrusted comment: minisign public key {KEY_ID}\n{KEY}\n")
    assert key == PublicKey.parse(f"  {KEY}\n")
    assert key.key_id == KEY_ID
