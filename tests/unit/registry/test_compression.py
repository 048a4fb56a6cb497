# SPDX-License-Identifier: GPL-2.0-or-later
"""Gzip with a limit."""

import gzip
import zlib

import pytest

from vpngate.errors import InvalidRegistry
from vpngate.registry.compression import decompress, is_compressed

CONTENT = b"prefix,registration\n" * 1000


def test_members_follow_one_another() -> None:
    data = gzip.compress(CONTENT) + gzip.compress(b"more") + bytes(512)
    assert is_compressed(data)
    assert decompress(data, len(CONTENT) + 4) == CONTENT + b"more"
    assert not is_compressed(CONTENT)


@pytest.mark.parametrize("limit", [0, 1, len(CONTENT) - 1])
def test_no_more_is_unpacked_than_allowed(limit: int) -> None:
    with pytest.raises(InvalidRegistry, match=f"more than {limit} bytes"):
        decompress(gzip.compress(CONTENT), limit)


def test_a_bomb_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    with pytest.raises(InvalidRegistry, match="more than 1000000 bytes"):
        decompress(bomb, 1_000_000)


def test_what_is_cut_short_is_refused_wherever_it_is_cut() -> None:
    data = gzip.compress(CONTENT)
    for length in range(2, len(data)):
        with pytest.raises(InvalidRegistry, match="cut short"):
            decompress(data[:length], 2**20)


def test_damage_is_refused() -> None:
    data = bytearray(gzip.compress(CONTENT))
    data[-6] ^= 1  # the checksum
    with pytest.raises(InvalidRegistry, match="damaged gzip"):
        decompress(bytes(data), 2**20)
    with pytest.raises(InvalidRegistry, match="damaged gzip"):
        decompress(gzip.compress(CONTENT) + b"trailing", 2**20)
