# SPDX-License-Identifier: GPL-2.0-or-later
"""Which filters choose by what a pair takes off, from the kernel's answers."""

import struct
from unittest import mock

import pytest

from vpngate.kernel.bpf.needs.root_filters import choosing_by_what_is_lost
from vpngate.kernel.wire import tc
from vpngate.kernel.wire.attributes import attribute
from vpngate.kernel.wire.channel import Channel


def answer(kind: str, options: bytes | None, handle: int = 1) -> bytes:
    head = tc.HEAD.pack(0, 3, handle, 0x10000, 0x10300)
    named = attribute(tc.KIND, kind.encode() + b"\0")
    told = b"" if options is None else attribute(tc.OPTIONS, options, nested=True)
    return head + named + told


def keys(*bits: int) -> bytes:
    return attribute(1, struct.pack("=I", sum(1 << bit for bit in bits)))


def matches(number: int, *kinds: int) -> bytes:
    """A tree of extended matches, each of them with some of its own behind its head."""
    each = (
        attribute(place, struct.pack("=HHHH", 0, kind, 1, 0) + bytes(12))
        for place, kind in enumerate(kinds, 1)
    )
    tree = attribute(1, struct.pack("=HH", len(kinds), 0))
    tree += attribute(2, b"".join(each), nested=True)
    return attribute(number, tree, nested=True)


CLASS = attribute(3, bytes(4))
CT_MARK, ENC_KEY_ID, IPV4_SRC = (attribute(one, bytes(4)) for one in (95, 26, 10))
CASES = [
    ("u32", CLASS, False),
    ("fw", CLASS, False),
    ("bpf", CLASS, False),
    ("tcindex", CLASS, False),
    ("route", CLASS, True),
    ("cgroup", b"", True),
    ("novel", b"", True),
    ("flow", keys(0, 1, 6, 7), False),
    ("flow", keys(0, 9), True),  # nfct-src
    ("flow", keys(13), True),  # rt-classid
    ("flow", keys(15), True),  # sk-gid
    ("flow", keys(16, 17), False),
    ("flow", keys(0) + matches(11, 1, 4), True),
    ("basic", CLASS, False),
    ("basic", matches(2, 1, 3, 0), False),
    ("basic", matches(2, 1, 4), True),
    ("basic", matches(2, 9), True),
    ("flower", IPV4_SRC, False),
    ("flower", IPV4_SRC + CT_MARK, True),
    ("flower", ENC_KEY_ID, True),
]


@pytest.mark.parametrize(("kind", "options", "lost"), CASES)
def test_kinds(kind: str, options: bytes, *, lost: bool) -> None:
    channel = mock.Mock(spec=Channel)
    first, head = answer("u32", CLASS), answer(kind, None, 0)
    channel.dump.return_value = [first, head, answer(kind, options)]
    assert choosing_by_what_is_lost(channel, 3) == (kind if lost else "")


def test_a_head_alone_is_no_filter() -> None:
    channel = mock.Mock(spec=Channel)
    channel.dump.return_value = [answer("route", None, 0), answer("route", CLASS, 0)]
    assert choosing_by_what_is_lost(channel, 3) == ""
