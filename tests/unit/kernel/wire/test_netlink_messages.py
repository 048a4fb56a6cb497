# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams of the kernel's, sound and damaged, without a socket."""

import socket
import struct

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from vpngate.errors import KernelRefused, MissingPrivilege
from vpngate.kernel.detour.verdicts import FlowId
from vpngate.kernel.wire.attributes import HEADER, attribute, each_message
from vpngate.kernel.wire.failures import in_one_line
from vpngate.kernel.wire.links import Announcement, Link, What, read_announcements
from vpngate.packets import Endpoint, Transport


def message(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    size = HEADER.size + len(body) if length is None else length
    return HEADER.pack(size, kind, 4, 9, 0) + body + bytes(-len(body) % 4)


def test_each_message_of_a_datagram() -> None:
    found = each_message(message(2, b"abc") + message(3, b""))
    assert [(kind, flags, n, bytes(body)) for kind, flags, n, body in found] == [
        (2, 4, 9, b"abc"),
        (3, 4, 9, b""),
    ]


@pytest.mark.parametrize("length", [0, 15, 21, 2**32 - 1])
def test_a_damaged_message_ends_a_datagram(length: int) -> None:
    damaged = message(3, b"body", length=length)
    assert [kind for kind, *_ in each_message(message(2, b"") + damaged)] == [2]


def test_a_link_whose_kind_is_no_text_is_a_link() -> None:
    body = struct.pack("=BxHiII", 0, 1, 7, 1, 0) + attribute(3, b"eth\xff\0")
    body += attribute(18, attribute(1, b"\xff\xfe\0"), nested=True)
    link = Link(7, "eth\ufffd", up=True, hardware=1, kind="\ufffd\ufffd")
    assert read_announcements(message(16, body)) == [Announcement(What.LINK, 7, link)]


def test_what_a_socket_raises_becomes_one_line() -> None:
    closed = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    closed.close()
    with pytest.raises(KernelRefused) as caught, in_one_line("hand over a change"):
        closed.send(b"change")
    assert caught.value.lines == [
        "netlink socket: cannot hand over a change: Bad file descriptor"
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NetlinkError(17, "File exists"), "File exists"),
        (IndexError("list index out of range"), "something is gone"),
    ],
)
def test_what_pyroute2_raises_becomes_one_line(error: Exception, reason: str) -> None:
    with pytest.raises(KernelRefused, match=reason) as caught, in_one_line("repair"):
        raise error
    assert len(caught.value.lines) == 1


def test_the_key_of_what_is_gone_is_not_told() -> None:
    """It may be a flow."""
    flow = FlowId(
        Transport.UDP, *(Endpoint(bytes([203, 0, 113, n]), 9) for n in (7, 8))
    )
    with pytest.raises(KernelRefused) as caught, in_one_line("repair"):
        raise KeyError(flow)
    assert caught.value.lines == [
        "netlink socket: cannot repair: something is gone (KeyError)"
    ]


def test_a_socket_that_forbids_misses_the_privilege() -> None:
    with pytest.raises(MissingPrivilege), in_one_line("hand over a change"):
        raise PermissionError(1, "Operation not permitted")
