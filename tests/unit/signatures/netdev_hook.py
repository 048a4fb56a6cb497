# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's netdev hook does with expressions, in Python.

Written from the kernel's sources (nft_set_pktinfo_ipv4_validate and _ipv6_,
ipv6_find_hdr, nft_payload_eval, nft_exthdr_ipv6_eval), so that rules can be tried
without root. The live test holds it to a real kernel.
"""

from vpngate import expressions as ex
from vpngate.expressions import Rule

_IPV4, _IPV6 = 0x0800, 0x86DD
_EXTENSIONS = {0, 43, 44, 51, 59, 60}
_ROUTING, _FRAGMENT, _AUTHENTICATION, _NONE = 43, 44, 51, 59


class Break(Exception):
    """NFT_BREAK: the rule does not go on."""


class Packet:
    """A packet at the hook: an Ethernet frame, and where its headers are."""

    def __init__(self, frame: bytes) -> None:
        self.protocol = int.from_bytes(frame[12:14])
        self.network = frame[14:]
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
        registers: dict[int, bytes] = {}
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

    def step(self, expression: ex.Expression, registers: dict[int, bytes]) -> None:
        """Evaluate one expression; Break where the rule ends."""
        match expression:
            case ex.Meta(key, register):
                registers[register] = self._meta(key)
            case ex.Payload(base, offset, length, register):
                registers[register] = self._load(base, offset, length)
            case ex.ExtensionHeader(kind, register):
                if self.protocol != _IPV6:
                    raise Break
                registers[register] = bytes([self._find(kind) is not None])
            case ex.Bitwise(mask, xor, source, register):
                loaded = registers[source][: len(mask)]
                registers[register] = bytes(
                    b & m ^ x for b, m, x in zip(loaded, mask, xor, strict=True)
                )
            case ex.Compare(value, operator, register):
                equal = registers[register][: len(value)] == value
                if equal is not (operator is ex.CompareOp.EQ):
                    raise Break
            case ex.Range(low, high, outside, register):
                if (low <= registers[register][: len(low)] <= high) is outside:
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
        if base is ex.Base.TRANSPORT:
            if self.transport is None or self.transport[2]:
                raise Break
            start = self.transport[1]
        loaded = self.network[start + offset : start + offset + length]
        if len(loaded) < length:
            raise Break
        return loaded
