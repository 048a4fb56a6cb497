# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's netdev hook does with expressions, in Python.

Written from the kernel's sources (nft_set_pktinfo_ipv4_validate and _ipv6_,
ipv6_find_hdr, nft_payload_eval, nft_exthdr_ipv6_eval, skb_vlan_untag), so that rules
can be tried without root. The live tests hold it to a real kernel.
"""

from vpngate import expressions as ex
from vpngate.expressions import Rule
from vpngate.packets import HookPoint

_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN_TAGS = {0x8100, 0x88A8}
_ETHERNET, _TAG = 14, 4  # bytes
_WORD = 4
_EXTENSIONS = {0, 43, 44, 51, 59, 60}
_ROUTING, _FRAGMENT, _AUTHENTICATION, _NONE = 43, 44, 51, 59


class Break(Exception):
    """NFT_BREAK: the rule does not go on."""


class Refused(Exception):
    """The kernel takes no rule that reads a register before something is in it."""


class Registers:
    """Sixteen words: 8 to 23 by the kernel's numbers, and 1 to 4 over four each."""

    def __init__(self) -> None:
        self._words: dict[int, bytes] = {}

    def store(self, register: int, value: bytes) -> None:
        """Put a value there; the rest of its last word is zero."""
        first = _word(register)
        for at in range(0, len(value), _WORD):
            word = value[at : at + _WORD]
            self._words[first + at // _WORD] = word + bytes(_WORD - len(word))

    def load(self, register: int, length: int) -> bytes:
        """So many bytes from there on; Refused if there is nothing."""
        first = _word(register)
        count = -(-length // _WORD)
        try:
            words = [self._words[first + number] for number in range(count)]
        except KeyError as absent:
            raise Refused(f"nothing is in register {register}") from absent
        return b"".join(words)[:length]


def _word(register: int) -> int:
    return register if register >= 8 else 4 + 4 * register


def _holds(question: ex.Compare | ex.Range, registers: Registers) -> bool:
    if isinstance(question, ex.Range):
        value = registers.load(question.register, len(question.low))
        return (question.low <= value <= question.high) is not question.outside
    equal = registers.load(question.register, len(question.value)) == question.value
    match question.operator:
        case ex.CompareOp.EQ:
            return equal
        case ex.CompareOp.NEQ:
            return not equal
    raise NotImplementedError(question)


class Packet:
    """A packet at the hook: an Ethernet frame, and where its headers are.

    What comes in has lost its outer VLAN tag before the hook sees it.
    """

    def __init__(self, frame: bytes, point: HookPoint = HookPoint.INGRESS) -> None:
        self.protocol = int.from_bytes(frame[12:14])
        self.network = frame[_ETHERNET:]
        if point is HookPoint.INGRESS and self.protocol in _VLAN_TAGS:
            self.protocol = int.from_bytes(self.network[2:_TAG])
            self.network = self.network[_TAG:]
        self.transport: tuple[int, int, int] | None = None  # protocol, start, offset
        if self.protocol == _IPV4:
            self._ipv4()
        elif self.protocol == _IPV6:
            self._ipv6()

    def matches(self, rule: Rule) -> bool:
        holds, _ = self.evaluate(rule)
        return holds

    def evaluate(self, rule: Rule) -> tuple[bool, int]:
        """Whether the whole rule holds, and how many expressions it took to see."""
        registers = Registers()
        for number, expression in enumerate(rule, 1):
            try:
                self.step(expression, registers)
            except Break:
                return False, number
        return True, len(rule)

    def _ipv4(self) -> None:
        ip = self.network
        if len(ip) < 20 or ip[0] >> 4 != 4 or ip[0] & 15 < 5:
            return
        total, start = int.from_bytes(ip[2:4]), (ip[0] & 15) * 4
        if start <= total <= len(ip):
            self.transport = (ip[9], start, int.from_bytes(ip[6:8]) & 0x1FFF)

    def _ipv6(self) -> None:
        ip = self.network
        if len(ip) < 40 or ip[0] >> 4 != 6:
            return
        if 40 + int.from_bytes(ip[4:6]) > len(ip):
            return
        self.transport = self._find(None)

    def _find(  # noqa: PLR0911 — as many as the kernel's own
        self, target: int | None
    ) -> tuple[int, int, int] | None:
        """ipv6_find_hdr: protocol, start and fragment offset; None for an error."""
        start, following = 40, self.network[6]
        while following != target:
            if following not in _EXTENSIONS or following == _NONE:
                return (following, start, 0) if target is None else None
            needed = 4 if following == _ROUTING else 2
            header = self.network[start : start + 8]
            if len(header) < needed:
                return None
            size = (header[1] + 1) * 8
            if following == _FRAGMENT:
                if len(header) < 4:
                    return None
                offset = int.from_bytes(header[2:4]) & ~7
                if offset:
                    if target is not None or header[0] in _EXTENSIONS - {_NONE}:
                        return None
                    return header[0], start, offset
                size = 8
            elif following == _AUTHENTICATION:
                if target is None:
                    return following, start, 0
                size = (header[1] + 2) * 4
            following, start = header[0], start + size
        return following, start, 0

    def step(self, expression: ex.Expression, registers: Registers) -> None:
        """Evaluate one expression; Break where the rule ends."""
        match expression:
            case ex.Meta(key, register):
                registers.store(register, self._meta(key))
            case ex.Payload(base, offset, length, register):
                registers.store(register, self._load(base, offset, length))
            case ex.ExtensionHeader(kind, register):
                if self.protocol != _IPV6:
                    raise Break
                registers.store(register, bytes([self._find(kind) is not None]))
            case ex.Bitwise(mask, xor, source, register):
                loaded = zip(registers.load(source, len(mask)), mask, xor, strict=True)
                registers.store(register, bytes(b & m ^ x for b, m, x in loaded))
            case ex.Immediate(value, register):
                registers.store(register, value)
            case ex.Compare() | ex.Range():
                if not _holds(expression, registers):
                    raise Break
            case _:
                raise NotImplementedError(expression)

    def _meta(self, key: ex.MetaKey) -> bytes:
        if key is ex.MetaKey.PROTOCOL:
            return self.protocol.to_bytes(2)
        if key is not ex.MetaKey.L4PROTO or self.transport is None:
            raise Break
        return bytes([self.transport[0]])

    def _load(self, base: ex.Base, offset: int, length: int) -> bytes:
        start = 0
        if base is ex.Base.LINK:
            raise NotImplementedError(base)
        if base is ex.Base.TRANSPORT:
            if self.transport is None or self.transport[2]:
                raise Break
            start = self.transport[1]
        loaded = self.network[start + offset : start + offset + length]
        if len(loaded) < length:
            raise Break
        return loaded
