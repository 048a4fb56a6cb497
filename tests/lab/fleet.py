# SPDX-License-Identifier: GPL-2.0-or-later
"""Gateways that share a host which serves their registry.

    gateway 0  192.0.2.11 ┐
    gateway 1  192.0.2.12 ├ one bridge, `hub`  192.0.2.1
    ...                   ┘

Knows their namespaces and wires, and how a kernel is asked whom it spares; does not
know what is served, nor what is behind a gateway.
"""

import contextlib
from pathlib import Path

from tests.lab.namespaces import Namespace
from tests.lab.served import SERVER


def address(number: int) -> str:
    """That gateway's address on the bridge."""
    return f"192.0.2.{11 + number}"


def hub(folder: Path, stack: contextlib.ExitStack, *lines: str) -> Namespace:
    """The host with the bridge; `lines` of ip(8) come before it is up."""
    made = Namespace("hub", folder)
    stack.callback(made.close)
    made.sysctl("net.ipv6.conf.default.accept_dad", 0)
    made.ip(
        "link set lo up",
        "link add hub type bridge",
        f"addr add {SERVER}/24 dev hub",
        *lines,
        "link set hub up",
    )
    return made


def gateway(
    number: int, bridge: Namespace, folder: Path, stack: contextlib.ExitStack
) -> Namespace:
    """A gateway's namespace with its wan0 on the bridge."""
    made = Namespace(f"gateway{number}", folder)
    stack.callback(made.close)
    made.sysctl("net.ipv6.conf.default.accept_dad", 0)
    made.sysctl("net.ipv4.ip_forward", 1)
    made.ip(
        "link set lo up",
        f"link add wan0 type veth peer name port{number} netns {bridge.path}",
        f"addr add {address(number)}/24 dev wan0",
        "link set wan0 up",
    )
    bridge.ip(f"link set port{number} master hub up")
    return made
