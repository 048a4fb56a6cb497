# SPDX-License-Identifier: GPL-2.0-or-later
"""An nftables table as plain data: sets, counters, chains, rules with their comments.

Knows the vocabulary of nftables; does not know netlink, nor what any particular
set or chain is for.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from vpngate.expressions import Rule
from vpngate.packets import Family, HookPoint


class DataType(IntEnum):
    """Types that `nft` prints elements with (nftables, include/datatype.h)."""

    IPV4_ADDR = 7
    IPV6_ADDR = 8
    ETHER_TYPE = 10
    MARK = 19
    IFINDEX = 20
    CLASSID = 23
    VERDICT = 0xFFFFFF00  # NFT_DATA_VERDICT: the value of a map that leads to chains

    @property
    def width(self) -> int:
        """Bytes of a value in a key: a whole number of registers of 4 bytes."""
        return 16 if self is DataType.IPV6_ADDR else 4


class Nature(Enum):
    """What a set's elements can do, which decides how the kernel stores them."""

    INTERVALS = "intervals"  # ranges of keys, kept until deleted
    EXPIRING = "expiring"  # each with a timeout; added by us alone
    DYNAMIC = "dynamic"  # each with a timeout; rules add or refresh them, too


@dataclass(frozen=True, slots=True)
class Set:
    """A named set, or a map if it has `value`.

    `timeout` is in seconds, for elements that come without their own; `size` is the
    most elements it takes (0: no bound).
    """

    name: str
    key: tuple[DataType, ...]
    nature: Nature
    comment: str
    value: tuple[DataType, ...] = ()
    timeout: float = 0
    size: int = 0

    @property
    def key_width(self) -> int:
        """Bytes in a key as nftables compares it."""
        if self.key == (DataType.ETHER_TYPE,):
            return 2
        return sum(part.width for part in self.key)

    @property
    def key_type(self) -> int:
        """The type of the key."""
        return _joined(self.key)

    @property
    def value_width(self) -> int:
        """Bytes in a value; 0 in a set."""
        return sum(part.width for part in self.value)

    @property
    def value_type(self) -> int:
        """The type of the value."""
        return _joined(self.value)


def _joined(parts: tuple[DataType, ...]) -> int:
    """The type of several, one behind the other: each shifts the others by 6 bits."""
    number = 0
    for part in parts:
        number = number << 6 | part
    return number


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a base chain stands."""

    point: HookPoint
    priority: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A rule and what it says to whoever lists the table."""

    rule: Rule
    comment: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; with a hook, a base chain whose policy is to accept."""

    name: str
    lines: tuple[Line, ...]
    hook: Hook | None = None


@dataclass(frozen=True)
class Table:
    """A netdev table. Chains stand after those they jump to."""

    name: str
    sets: tuple[Set, ...]
    counters: tuple[str, ...]
    chains: tuple[Chain, ...]


def address_type(family: Family) -> DataType:
    """The type of an address of that family."""
    return DataType.IPV4_ADDR if family is Family.IPV4 else DataType.IPV6_ADDR
