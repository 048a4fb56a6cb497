# SPDX-License-Identifier: GPL-2.0-or-later
import gzip
import random
import zlib

import pytest

from vpngate.errors import FeedFault
from vpngate.expansion import GzipBounds, expand
from vpngate.feed.faults import Reason
from vpngate.feed.sources.deadline import Deadline
from vpngate.feed.sources.gzip_check import check_expansion

CONTENT = b"prefix,registration\n" * 1000


def gunzip(packed: bytes, limit: int, where: str) -> bytes:
    """The content, once it has been found to be within its bounds."""
    check_expansion(packed, limit, where, Deadline(60))
    return b"".join(expand(packed, GzipBounds(limit)))


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_round_trip(size: int) -> None:
    content = random.Random(size).randbytes(size)
    packed = gzip.compress(content)
    assert gunzip(packed, size, "here") == content
    if size:
        with pytest.raises(FeedFault, match="unpacks to more") as caught:
            gunzip(packed, size - 1, "here")
        assert caught.value.reason == Reason.TOO_LARGE


def test_several_members() -> None:
    packed = b"".join(gzip.compress(CONTENT, mtime=0) for _ in range(3))
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
        (gzip.compress(CONTENT, mtime=0)[:-1], "ends early"),
        (gzip.compress(CONTENT, mtime=0)[:12], "ends early"),
        (gzip.compress(CONTENT, mtime=0)[:5], "ends early"),
        (gzip.compress(CONTENT, mtime=0)[:-8] + bytes(8), "not a sound gzip"),
        (gzip.compress(CONTENT, mtime=0) + b"rubbish", "not a sound gzip"),
        (b"\x1f\x8b" + b"rubbish" * 9, "not a sound gzip"),
        (b"\x1f\x8b" + zlib.compress(CONTENT), "not a sound gzip"),
    ],
)
def test_damaged(packed: bytes, words: str) -> None:
    with pytest.raises(FeedFault, match=words) as caught:
        gunzip(packed, 2**20, "here")
    assert caught.value.reason == Reason.TRUNCATED


def test_other_content_is_not_touched() -> None:
    check_expansion(b"", 0, "here", Deadline(60))
    check_expansion(CONTENT, 0, "here", Deadline(60))


def test_members_have_an_end() -> None:
    """Empty ones unfold to nothing, and cost time all the same."""
    packed = gzip.compress(b"") * 20_000
    with pytest.raises(FeedFault, match="more than 16384 members") as caught:
        gunzip(packed, 10, "here")
    assert caught.value.reason == Reason.TOO_LARGE
    assert gunzip(packed[: 16384 * 20], 10, "here") == b""


def test_a_ratio_that_no_registry_has_is_refused() -> None:
    with pytest.raises(FeedFault, match="more than 100 times its size"):
        gunzip(gzip.compress(bytes(2**22)), 2**30, "here")
    small = gzip.compress(bytes(2**20))  # any ratio goes for so little
    assert gunzip(small, 2**20, "here") == bytes(2**20)


def test_the_deadline_is_looked_at_between_slices() -> None:
    """A cancel while megabytes are unpacked: the next slice does not come."""
    end = Deadline(60)
    rng = random.Random(1)
    packed = gzip.compress(rng.randbytes(2**20), 1)
    seen = 0

    def look() -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            end.cancel()
        end.check("here")

    with pytest.raises(FeedFault) as caught:
        for _ in expand(packed, GzipBounds(2**30), look):
            pass
    assert (caught.value.reason, seen) == (Reason.CANCELLED, 3)
    with pytest.raises(FeedFault) as caught:
        check_expansion(packed, 2**30, "here", end)
    assert caught.value.reason == Reason.CANCELLED
