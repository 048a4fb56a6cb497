# SPDX-License-Identifier: GPL-2.0-or-later
"""nftables expressions as plain data: what a rule is made of.

Knows the kernel's expressions one to one, in the words and numbers of
`linux/netfilter/nf_tables.h`; does not know netlink, tables, or what a rule is for.
A rule is a tuple of expressions: each loads a register, or compares one and ends
the rule if it fails, or acts.

Registers are the kernel's numbers. 1 to 4 are 16 bytes wide and lie over the
4-byte registers 8 to 23 (1 over 8 to 11, and so on); 0 takes verdicts. Values
are bytes as the kernel compares them: network order for what came from a packet,
host order for interface indexes, marks and priorities.
"""

from dataclasses import dataclass
from enum import IntEnum

VERDICT_REGISTER = 0


class Base(IntEnum):
    """Where a payload offset counts from (enum nft_payload_bases)."""

    LINK = 0
    NETWORK = 1
    TRANSPORT = 2


class MetaKey(IntEnum):
    """What the kernel knows beside a packet's bytes (enum nft_meta_keys)."""

    LENGTH = 0
    PROTOCOL = 1  # EtherType, network order
    PRIORITY = 2
    MARK = 3
    IIF = 4
    OIF = 5
    IIFNAME = 6
    OIFNAME = 7
    IIFTYPE = 8
    OIFTYPE = 9
    NFPROTO = 15
    L4PROTO = 16  # for IPv6 the one behind the extension headers
    PKTTYPE = 19


class CompareOp(IntEnum):
    """Order is that of memcmp (enum nft_cmp_ops)."""

    EQ = 0
    NEQ = 1
    LT = 2
    LTE = 3
    GT = 4
    GTE = 5


class VerdictCode(IntEnum):
    """What becomes of the packet, or of the walk (enum nft_verdicts)."""

    ACCEPT = 1
    CONTINUE = -1
    JUMP = -3
    GOTO = -4
    RETURN = -5


class SetOperation(IntEnum):
    """What a rule does to a set (enum nft_dynset_ops)."""

    ADD = 0
    UPDATE = 1  # adds, or starts the element's timeout anew
    DELETE = 2


@dataclass(frozen=True, slots=True)
class Payload:
    """Load `length` bytes of the packet; the rule ends if it has not got them.

    On `Base.TRANSPORT` the rule also ends for later fragments and for packets
    whose network header the kernel found invalid.
    """

    base: Base
    offset: int  # at most 255
    length: int
    register: int = 1


@dataclass(frozen=True, slots=True)
class ExtensionHeader:
    """Load one byte: 1 if the IPv6 packet has an extension header of `type`, else 0."""

    type: int
    register: int = 1


@dataclass(frozen=True, slots=True)
class Meta:
    """Load what the kernel knows beside the packet's bytes."""

    key: MetaKey
    register: int = 1


@dataclass(frozen=True, slots=True)
class ReversePathCheck:
    """Load one byte: 1 if the way back to the source is where the packet came in by.

    Strict reverse path filtering (RFC 3704, section 2.2) as a question; at ingress
    alone. `nft` prints it as `fib saddr . iif oif exists`.
    """

    register: int = 1


@dataclass(frozen=True, slots=True)
class SetMeta:
    """Write a register to the packet's mark or priority."""

    key: MetaKey
    register: int = 1


@dataclass(frozen=True, slots=True)
class Compare:
    """Go on only if the register's first bytes compare to `value` like this."""

    value: bytes
    operator: CompareOp = CompareOp.EQ
    register: int = 1


@dataclass(frozen=True, slots=True)
class Range:
    """Go on only if low ≤ register ≤ high, or, if `outside`, not."""

    low: bytes
    high: bytes
    outside: bool = False
    register: int = 1


@dataclass(frozen=True, slots=True)
class Bitwise:
    """register = (source & mask) ^ xor, over as many bytes as `mask` has."""

    mask: bytes
    xor: bytes
    source: int = 1
    register: int = 1


@dataclass(frozen=True, slots=True)
class Immediate:
    """Load a constant."""

    value: bytes
    register: int = 1


@dataclass(frozen=True, slots=True)
class Lookup:
    """Go on only if the set holds the key in the register (or not: `inverted`).

    `into` is the register that takes a map's value; VERDICT_REGISTER for a map of
    verdicts, None for a plain set or where membership alone counts.
    """

    set_name: str
    register: int = 1
    into: int | None = None
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """End the rule with a verdict; `chain` for JUMP and GOTO alone."""

    code: VerdictCode
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class NamedCounter:
    """Count packets and bytes in the table's counter of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Limit:
    """Go on only for the first `rate` packets every `seconds`, after `burst` more.

    `over` turns it around: go on only for those beyond.
    """

    rate: int
    burst: int
    seconds: int = 1
    over: bool = False


@dataclass(frozen=True, slots=True)
class LogPacket:
    """Copy a packet to an NFLOG group; how many at once is the reader's say.

    With a `word`, nothing but that is handed over, and at once.
    """

    group: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the packet to the device whose index is in the register; ends all."""

    register: int = 1


@dataclass(frozen=True, slots=True)
class DynamicSet:
    """Add, update or delete a set's element from the packet's path.

    `value_register` holds a map's value. `timeout` is in milliseconds; None means
    the set's own. `expressions` live in the element (a limit, for one) and decide
    whether the rule goes on.
    """

    set_name: str
    operation: SetOperation
    key_register: int = 1
    value_register: int | None = None
    timeout: int | None = None
    expressions: tuple["Expression", ...] = ()


Expression = (
    Payload
    | ExtensionHeader
    | Meta
    | ReversePathCheck
    | SetMeta
    | Compare
    | Range
    | Bitwise
    | Immediate
    | Lookup
    | ChainVerdict
    | NamedCounter
    | Limit
    | LogPacket
    | Forward
    | DynamicSet
)

Rule = tuple[Expression, ...]
