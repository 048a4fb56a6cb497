# SPDX-License-Identifier: GPL-2.0-or-later
"""Who else on this machine tests or sets packet marks, bit by bit.

Knows where marks stand in nftables rules (iptables-nft's among them), routing rules
and filters of traffic control; changes nothing, and does not know which bit is ours.
Values that stand in sets, ranges, and marks set by sockets, are not seen.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from vpngate.kernel.survey.neighbours import filter_messages
from vpngate.kernel.wire import nft, tc
from vpngate.kernel.wire.attributes import (
    DUMP,
    attributes,
    each_attribute,
    host_number,
    message,
    number,
    text,
)
from vpngate.kernel.wire.channel import Channel

ALL_BITS = 0xFFFFFFFF

_MARK = 3  # NFT_META_MARK, and NFT_CT_MARK
_SOURCE = {"meta": 3, "ct": 4}  # NFTA_META_SREG, NFTA_CT_SREG
_LOOKED_UP = 3  # NFTA_LOOKUP_DREG
_WIDE = 4  # registers 1 to 4 are 16 bytes wide, the others 4
_REGISTER = 4  # bytes of a register's number

_GET_ROUTING_RULE = 34  # RTM_GETRULE
_ROUTING_RULE = 12  # bytes of fib_rule_hdr
_PRIORITY, _FWMARK, _FWMASK = 6, 10, 16  # FRA_*

_FW_MASK, _U32_MARK = 5, 10  # TCA_FW_MASK, TCA_U32_MARK
_CLSACT_SIDES = (tc.CLSACT_INGRESS, tc.CLSACT_EGRESS)
# Nobody puts filters there, and of some there may be one a class.
_BARE = frozenset({"noqueue", "mq", "pfifo_fast", "pfifo", "bfifo", "fq", "fq_codel"})

# iptables-nft keeps these as they are: an extension's name, and its own structure,
# which begins with value and mask (xt_mark.h, xt_connmark.h).
_EXTENSIONS = {"match": ("mark", "connmark"), "target": ("MARK", "CONNMARK")}
_PAIR = struct.Struct("=II")


@dataclass(frozen=True, slots=True)
class MarkUse:
    """Somebody tests or sets a mark: `value` within `mask`.

    `where` names the place as its own tool does.
    """

    where: str
    value: int
    mask: int

    def concerns(self, bit: int) -> bool:
        """Whether the bit means something there.

        A test of a whole mark in which the bit is not set is no use of the bit.
        """
        return bool(self.value & bit or (self.mask != ALL_BITS and self.mask & bit))

    def __str__(self) -> str:
        mask = "" if self.mask == ALL_BITS else f"/{self.mask:#x}"
        return f"{self.value:#x}{mask}"


def mark_uses(
    nftables: Channel, route: Channel, names: Mapping[int, str]
) -> list[MarkUse]:
    """All that can be found; `names` are those of interfaces by index."""
    return [
        *read_nft_rules(nftables.dump(nft.ask_all(nft.GET_RULE))),
        *routing_marks(route),
        *filter_marks(route, names),
    ]


def routing_marks(route: Channel) -> list[MarkUse]:
    """Those of `ip rule`."""
    request = message(_GET_ROUTING_RULE, DUMP, bytes(_ROUTING_RULE))
    return list(read_routing_rules(route.dump(request)))


def filter_marks(route: Channel, names: Mapping[int, str]) -> list[MarkUse]:
    """Those of `tc filter`, on all interfaces."""
    found: list[MarkUse] = []
    for queue in tc.queues(route):
        clsact = queue.major == tc.CLSACT_MAJOR
        for parent in _CLSACT_SIDES if clsact else (queue.handle,):
            if parent and queue.kind not in _BARE:
                answers = filter_messages(route, queue.interface, parent)
                found += read_tc_filters(answers, names)
    return found


def read_nft_rules(answers: Iterable[bytes]) -> Iterator[MarkUse]:
    """Those of rules, from the kernel's answers."""
    for answer in answers:
        parts = nft.parts(answer)
        chain = f"{text(parts[nft.RULE_TABLE])} {text(parts[nft.RULE_CHAIN])}"
        handle = number(parts.get(nft.RULE_HANDLE, b""))
        where = f"nft {nft.family(answer)} {chain} handle {handle}"
        walk = _Walk()
        for _, expression in each_attribute(parts.get(nft.RULE_EXPRESSIONS, b"")):
            inner = attributes(expression)
            name = text(inner.get(nft.EXPRESSION_NAME, b""))
            for value, mask in walk.step(
                name, attributes(inner.get(nft.EXPRESSION_DATA, b""))
            ):
                yield MarkUse(where, value, mask)


def read_routing_rules(answers: Iterable[bytes]) -> Iterator[MarkUse]:
    """Those of routing rules, from the kernel's answers."""
    for answer in answers:
        parts = attributes(answer, _ROUTING_RULE)
        if _FWMARK in parts:
            yield MarkUse(
                f"ip rule {host_number(parts.get(_PRIORITY, b''))}",
                host_number(parts[_FWMARK]),
                host_number(parts[_FWMASK]) if _FWMASK in parts else ALL_BITS,
            )


def read_tc_filters(
    answers: Iterable[bytes], names: Mapping[int, str]
) -> Iterator[MarkUse]:
    """Those of filters `fw` and `u32`, from the kernel's answers."""
    for answer in answers:
        _, interface, handle, _, info = tc.HEAD.unpack_from(answer)
        parts = attributes(answer, tc.HEAD.size)
        kind = text(parts.get(tc.KIND, b""))
        options = attributes(parts.get(tc.OPTIONS, b""))
        name = names.get(interface, str(interface))
        where = f"tc filter {kind} pref {info >> 16} of {name}"
        if kind == "fw" and handle:
            mask = host_number(options[_FW_MASK]) if _FW_MASK in options else ALL_BITS
            yield MarkUse(where, handle, mask)
        elif kind == "u32" and _U32_MARK in options:
            yield MarkUse(where, *_PAIR.unpack_from(options[_U32_MARK]))


class _Walk:
    """A rule's expressions, one after the other, and what registers hold by then."""

    def __init__(self) -> None:
        self._marks: dict[int, tuple[int, int]] = {}  # which bits, and those flipped
        self._constants: dict[int, int] = {}

    def step(self, name: str, parts: dict[int, memoryview]) -> list[tuple[int, int]]:
        """The value and mask that an expression tests or sets, if it does."""
        if name in _EXTENSIONS:
            return _extension(name, parts)
        if name in _SOURCE and number(parts.get(2, b"")) == _MARK:
            if _SOURCE[name] in parts:
                return self._set(_register(parts[_SOURCE[name]]))
            self._forget(target := _register(parts[1]))
            self._marks[target] = (ALL_BITS, 0)
            return []
        return _STEPS.get(name, _Walk._other)(self, parts)

    def _set(self, source: int) -> list[tuple[int, int]]:
        """What is set for certain: a constant, or the bits that are flipped."""
        if source in self._constants:
            return [(self._constants[source], ALL_BITS)]
        return [(self._marks.get(source, (0, 0))[1], ALL_BITS)]

    def _bitwise(self, parts: dict[int, memoryview]) -> list[tuple[int, int]]:
        source, target = _register(parts[1]), _register(parts[2])
        known = self._marks.get(source)
        self._forget(target)
        if known is not None and {4, 5} <= parts.keys():  # NFTA_BITWISE_MASK, _XOR
            mask, flipped = _value(parts[4]), _value(parts[5])
            self._marks[target] = (known[0] & mask, known[1] & mask ^ flipped)
        return []

    def _immediate(self, parts: dict[int, memoryview]) -> list[tuple[int, int]]:
        self._forget(target := _register(parts[1]))
        self._constants[target] = _value(parts[2])
        return []

    def _compare(self, parts: dict[int, memoryview]) -> list[tuple[int, int]]:
        known = self._marks.get(_register(parts[1]))
        if known is None:
            return []
        return [(_value(parts[3]) ^ known[1], known[0])]  # NFTA_CMP_DATA

    def _look_up(self, parts: dict[int, memoryview]) -> list[tuple[int, int]]:
        """A set is asked; what is in it is not known, but the mask is."""
        known = self._marks.get(_register(parts[2]))
        if _LOOKED_UP in parts:
            self._forget(_register(parts[_LOOKED_UP]))
        return [(0, known[0])] if known is not None else []

    def _other(self, parts: dict[int, memoryview]) -> list[tuple[int, int]]:
        """Any other expression that loads a register has it as its first attribute."""
        if len(parts.get(1, b"")) == _REGISTER:
            self._forget(_register(parts[1]))
        return []

    def _forget(self, register: int) -> None:
        self._marks.pop(register, None)
        self._constants.pop(register, None)


_STEPS: dict[str, Callable[[_Walk, dict[int, memoryview]], list[tuple[int, int]]]] = {
    "bitwise": _Walk._bitwise,  # noqa: SLF001 - its own table
    "immediate": _Walk._immediate,  # noqa: SLF001
    "cmp": _Walk._compare,  # noqa: SLF001
    "lookup": _Walk._look_up,  # noqa: SLF001
}


def _extension(name: str, parts: dict[int, memoryview]) -> list[tuple[int, int]]:
    data = parts.get(nft.EXTENSION_DATA, memoryview(b""))
    known = text(parts.get(nft.EXTENSION_NAME, b"")) in _EXTENSIONS[name]
    if not known or len(data) < _PAIR.size:
        return []
    value, mask = _PAIR.unpack_from(data)
    # A target's mask says what is cleared before; what it sets is the value.
    return [(value, mask if name == "match" else ALL_BITS)]


def _register(data: memoryview) -> int:
    """A register's number, counted in those of 4 bytes."""
    register = number(data)
    return 4 + 4 * register if 1 <= register <= _WIDE else register


def _value(data: memoryview) -> int:
    """A constant, up to the 4 bytes of a mark."""
    return host_number(attributes(data).get(nft.DATA_VALUE, memoryview(b""))[:4])
