# SPDX-License-Identifier: GPL-2.0-or-later
import gzip
import random
import zlib

import pytest

from vpngate.errors import FeedFault
from vpngate.feed.expand import check_expansion, gunzip
from vpngate.feed.faults import Reason

CONTENT = b"prefix,registration\n" * 1000


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_round_trip(size: int) -> None:
    content = random.Random(size).randbytes(size)
    packed = gzip.compress(content)
    assert gunzip(packed, size, "here") == content
    check_expansion(packed, size, "here")
    if size:
        with pytest.raises(FeedFault, match="unpacks to more") as caught:
            gunzip(packed, size - 1, "here")
        assert caught.value.reason == Reason.TOO_LARGE
        with pytest.raises(FeedFault, match="unpacks to more"):
            check_expansion(packed, size - 1, "here")


def test_several_members() -> None:
    packed = b"".join(gzip.compress(CONTENT) for _ in range(3))
    assert gunzip(packed, 3 * len(CONTENT), "here") == CONTENT * 3
    with pytest.raises(FeedFault):
        gunzip(packed, 3 * len(CONTENT) - 1, "here")


def test_padding_behind_a_member() -> None:
    assert gunzip(gzip.compress(CONTENT) + bytes(100), 2**20, "here") == CONTENT


def test_bomb_is_cheap() -> None:
    """64 MiB of zeros are not unpacked beyond the limit and one piece."""
    packed = gzip.compress(bytes(2**26))
    with pytest.raises(FeedFault):
        gunzip(packed, 1000, "here")


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (gzip.compress(CONTENT)[:-1], "ends early"),
        (gzip.compress(CONTENT)[:12], "ends early"),
        (gzip.compress(CONTENT)[:5], "ends early"),
        (gzip.compress(CONTENT)[:-8] + bytes(8), "not a sound gzip"),
        (gzip.compress(CONTENT) + b"rubbish", "not a sound gzip"),
        (b"\x1f\x8b" + b"rubbish" * 9, "not a sound gzip"),
        (zlib.compress(CONTENT), "not a sound gzip"),
    ],
)
def test_damaged(packed: bytes, words: str) -> None:
    with pytest.raises(FeedFault, match=words) as caught:
        gunzip(packed, 2**20, "here")
    assert caught.value.reason == Reason.TRUNCATED


def test_other_content_is_not_touched() -> None:
    check_expansion(b"", 0, "here")
    check_expansion(CONTENT, 0, "here")
