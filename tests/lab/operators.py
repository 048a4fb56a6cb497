# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator has put on the gateway before vpngate came.

Knows a table of nftables, and a queue of HTB with a slow class for one mark; does not
know vpngate.
"""

import contextlib
import shlex
import struct
from collections.abc import Iterator

from tests.lab.namespaces import Namespace


@contextlib.contextmanager
def table(gateway: Namespace, text: str) -> Iterator[None]:
    """A table for the length of the block."""
    family, name = text.split()[1:3]
    gateway.run("nft", "-f", "-", stdin=text)
    try:
        yield
    finally:
        gateway.run("nft", "delete", "table", family, name)


@contextlib.contextmanager
def classes(gateway: Namespace, device: str, mark: int, rate: float) -> Iterator[None]:
    """HTB on `device`: class 1:10 of a rate in bit/s for the mark, the rest at will."""
    by_mark = f"bpf bytecode '{_by_mark(mark)}'"
    for words in (
        f"qdisc add dev {device} root handle 1: htb default 20",
        f"class add dev {device} parent 1: classid 1:10 htb rate {rate:.0f}",
        f"class add dev {device} parent 1: classid 1:20 htb rate 10gbit",
        f"filter add dev {device} parent 1: protocol all pref 1 {by_mark} flowid 1:10",
    ):
        gateway.run("tc", *shlex.split(words))
    try:
        yield
    finally:
        gateway.run("tc", "qdisc", "del", "dev", device, "root")


def _by_mark(mark: int) -> str:
    """Classic BPF for tc: load the mark, compare all of it, true or false.

    (The kernel of the test machine lacks cls_fw, which does the same.)
    """
    load_word, compare, give_back = 0x20, 0x15, 0x06
    offset = struct.unpack("I", struct.pack("i", -0x1000 + 20))[0]  # SKF_AD_MARK
    code = (
        (load_word, 0, 0, offset),
        (compare, 0, 1, mark),
        (give_back, 0, 0, 0xFFFFFFFF),
        (give_back, 0, 0, 0),
    )
    return f"{len(code)}," + ",".join(" ".join(map(str, step)) for step in code)
