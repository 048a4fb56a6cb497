# SPDX-License-Identifier: GPL-2.0-or-later
"""The content of a registry, a piece at a time and never more than was asked for."""

import gzip
import hashlib
import zlib

import pytest

from vpngate.errors import InvalidRegistry
from vpngate.expansion import look_at_nothing
from vpngate.registry.reading.content import Content

CONTENT = b"prefix,registration\n" * 1000


def content(data: bytes, limit: int) -> bytes:
    return b"".join(Content(data, limit, look_at_nothing))


def test_members_follow_one_another() -> None:
    data = gzip.compress(CONTENT) + gzip.compress(b"more") + bytes(512)
    assert content(data, len(CONTENT) + 4) == CONTENT + b"more"
    assert content(CONTENT, len(CONTENT)) == CONTENT
    assert content(b"", 0) == b""


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 2**20])
@pytest.mark.parametrize("packed", [False, True])
def test_the_digest_is_of_all_pieces(size: int, *, packed: bool) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    read = Content(gzip.compress(data) if packed else data, size, look_at_nothing)
    pieces = list(read)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 2**18
    assert read.digest == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("limit", [0, 1, len(CONTENT) - 1])
@pytest.mark.parametrize("packed", [False, True])
def test_no_more_is_read_than_allowed(limit: int, *, packed: bool) -> None:
    with pytest.raises(InvalidRegistry, match=f"more than {limit} bytes"):
        content(gzip.compress(CONTENT) if packed else CONTENT, limit)


def test_a_bomb_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    with pytest.raises(InvalidRegistry, match="more than 1000000 bytes"):
        content(bomb, 1_000_000)


def test_what_is_cut_short_is_refused_wherever_it_is_cut() -> None:
    data = gzip.compress(CONTENT)
    for length in range(2, len(data)):
        with pytest.raises(InvalidRegistry, match="ends early"):
            content(data[:length], 2**20)


def test_damage_is_refused() -> None:
    data = bytearray(gzip.compress(CONTENT))
    data[-6] ^= 1  # the checksum
    with pytest.raises(InvalidRegistry, match="not a sound gzip"):
        content(bytes(data), 2**20)
    with pytest.raises(InvalidRegistry, match="not a sound gzip"):
        content(gzip.compress(CONTENT) + b"trailing", 2**20)


@pytest.mark.parametrize("packed", [False, True])
def test_whoever_waits_for_the_end_is_asked_between_pieces(*, packed: bool) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(len(seen))
        if len(seen) == 3:
            raise TimeoutError

    data = bytes(2**20)
    with pytest.raises(TimeoutError):
        b"".join(Content(gzip.compress(data) if packed else data, 2**30, look))
    assert len(seen) == 3
