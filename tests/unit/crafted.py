# SPDX-License-Identifier: GPL-2.0-or-later
"""Crafted traffic that vpngate has to leave alone, by kind.

Knows what such packets look like from their public descriptions: none of it was
captured. Does not know how anything is recognised. What is encrypted or random comes
from a seeded generator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from struct import pack

from vpngate.packets import Transport

UDP, TCP, GRE = Transport.UDP, Transport.TCP, Transport.GRE
_SEED = 20480
_random = Random(_SEED)


@dataclass(frozen=True)
class Crafted:
    """Packets of one kind of traffic, from a client and from a server."""

    kind: str
    transport: Transport
    ports: tuple[int, int]
    up: tuple[bytes, ...]
    down: tuple[bytes, ...] = ()

    @property
    def packets(self) -> Iterator[tuple[bytes, bool]]:
        """Payloads, and whether each is the server's, in turn."""
        for number in range(max(len(self.up), len(self.down))):
            yield from ((p, False) for p in self.up[number : number + 1])
            yield from ((p, True) for p in self.down[number : number + 1])


def noise(size: int) -> bytes:
    """What encryption leaves to see."""
    return _random.randbytes(size)


# WireGuard and OpenVPN as they are, to be disguised.
_WG_INITIATION = b"\x01\0\0\0" + noise(144)
_WG_RESPONSE = b"\x02\0\0\0" + noise(4) + _WG_INITIATION[4:8] + noise(80)
_CLIENT, _SERVER = noise(8), noise(8)
_OVPN_RESET = b"\x38" + _CLIENT + bytes(5)
_OVPN_ANSWER = b"\x40" + _SERVER + b"\x01" + bytes(4) + _CLIENT + bytes(4)
_OVPN_AUTH = (
    b"\x38" + _CLIENT + noise(20) + b"\0\0\0\x01" + noise(4) + bytes(5)
)  # SHA-1


def undisguised() -> Iterator[Crafted]:
    """The same tunnels as they are: what a test of boundaries has to see."""
    wireguard = (_WG_INITIATION,), (_WG_RESPONSE,)
    yield Crafted("WireGuard", UDP, (40000, 51820), *wireguard)
    yield Crafted("OpenVPN", UDP, (40000, 1194), (_OVPN_RESET,), (_OVPN_ANSWER,))
    up, down = _on_tcp(_OVPN_AUTH), _on_tcp(_OVPN_ANSWER)
    yield Crafted("OpenVPN on TCP", TCP, (40000, 443), (up,), (down,))


def _xor_password(message: bytes, password: bytes = b"scramble") -> bytes:
    return bytes(b ^ password[i % len(password)] for i, b in enumerate(message))


def _xor_position(message: bytes) -> bytes:
    return bytes(b ^ (i + 1) & 0xFF for i, b in enumerate(message))


def _reversed(message: bytes) -> bytes:
    return message[:1] + message[:0:-1]


def _on_tcp(message: bytes) -> bytes:
    return len(message).to_bytes(2) + message


def disguised() -> Iterator[Crafted]:
    """Tunnels that do not announce themselves: scrambled, padded or all random."""
    for junk in (15, 40, 150):
        yield Crafted(
            f"WireGuard behind {junk} bytes of junk",
            *(UDP, (40000, 51820)),
            (noise(junk) + _WG_INITIATION,),
            (noise(junk) + _WG_RESPONSE,),
        )
    yield Crafted(
        "WireGuard with message types of its own",
        *(UDP, (40000, 51820)),
        (noise(4) + _WG_INITIATION[4:],),
        (noise(4) + _WG_RESPONSE[4:],),
    )
    yield Crafted(
        "WireGuard with reserved bytes in use",
        *(UDP, (40000, 2408)),
        (b"\x01\x0a\x0b\x0c" + _WG_INITIATION[4:],),
        (b"\x02\x0a\x0b\x0c" + _WG_RESPONSE[4:],),
    )
    yield Crafted(
        "WireGuard padded behind",
        *(UDP, (40000, 51820)),
        tuple(_WG_INITIATION + noise(size) for size in (1, 12, 300)),
        tuple(_WG_RESPONSE + noise(size) for size in (1, 12, 300)),
    )
    scrambles: dict[str, Callable[[bytes], bytes]] = {
        "a password": _xor_password,
        "positions": _xor_position,
        "a turn": _reversed,
        "all three": lambda m: _xor_password(_xor_position(_reversed(m))),
    }
    for name, scramble in scrambles.items():
        up = (scramble(_OVPN_AUTH), scramble(_OVPN_RESET + noise(3)))
        down = (scramble(_OVPN_ANSWER + noise(28)),)
        yield Crafted(f"OpenVPN scrambled by {name}", UDP, (40000, 1194), up, down)
        yield Crafted(
            f"OpenVPN scrambled by {name}, on TCP",
            *(TCP, (40000, 443)),
            tuple(map(_on_tcp, up)),
            tuple(map(_on_tcp, down)),
        )
    yield Crafted("OpenVPN padded", UDP, (40000, 1194), (_OVPN_RESET + bytes(1),))
    for name, ports in (("Shadowsocks", (40000, 8388)), ("obfs4", (40000, 9001))):
        yield Crafted(
            f"all random, like {name}",
            *(TCP, ports),
            tuple(noise(_random.randrange(50, 1400)) for _ in range(200)),
            tuple(noise(_random.randrange(50, 1400)) for _ in range(200)),
        )
    sizes = (14, 22, 26, 42, 50, 54, 64, 66, 72, 80, 92, 148, 156)
    yield Crafted(
        "all random, in sizes of handshakes",
        *(UDP, (40000, 8388)),
        tuple(noise(size) for size in sizes for _ in range(40)),
        tuple(noise(size) for size in sizes for _ in range(40)),
    )


_CONNECTION = noise(8)


def _quic_long(version: int, size: int = 1200) -> bytes:
    head = pack(">BIB", 0xC3, version, 8) + _CONNECTION + b"\x08" + noise(8)
    return head + b"\0\x44\x9e" + noise(size - len(head) - 3)


def _quic_short() -> bytes:
    return bytes((0x40 | _random.randrange(64),)) + _CONNECTION + noise(60)


def _dtls(kind: int, epoch: int, sequence: int, size: int, version: int) -> bytes:
    number = epoch.to_bytes(2) + sequence.to_bytes(6)
    return pack(">BH", kind, version) + number + size.to_bytes(2) + noise(size)


def _rtp(sequence: int, size: int = 172) -> bytes:
    return pack(">BBHII", 0x80, 0x60, sequence, sequence * 960, 7) + noise(size - 12)


def everyday(port: int | None = None) -> Iterator[Crafted]:
    """Meetings, calls, games, browsers; on the ports they like, or on `port`."""

    def ports(usual: int) -> tuple[int, int]:
        return (40000, usual if port is None else port)

    versions = (1, 0x6B3343CF, 0xFF00001D, 0)  # 1, 2, draft 29, negotiation
    up = (*map(_quic_long, versions), *(_quic_short() for _ in range(30)))
    yield Crafted("QUIC", UDP, ports(443), up, tuple(reversed(up)))
    for version in (0xFEFF, 0xFEFD):
        flight = [_dtls(22, 0, n, 180, version) for n in range(4)]
        flight += [_dtls(20, 0, 4, 1, version), _dtls(22, 1, 0, 48, version)]
        flight += [_dtls(23, 1, n, 99, version) for n in range(1, 20)]
        yield Crafted("DTLS", UDP, ports(443), tuple(flight), tuple(flight))
    stun = b"\0\x08" + b"\x21\x12\xa4\x42" + noise(12) + b"\x80\x22\0\x04vpng"
    yield Crafted(
        "STUN",
        *(UDP, ports(3478)),
        (b"\0\x01" + stun, b"\0\x03" + stun),
        (b"\x01\x01" + stun, b"\x01\x13" + stun),
    )
    channel = tuple(pack(">HH", 0x4001, 100) + noise(100) for _ in range(10))
    yield Crafted("TURN, channel data", UDP, ports(3478), channel, channel)
    voice = tuple(
        _rtp(n, size) for n, size in enumerate((172, 148, 92, 64, 92, 148) * 20)
    )
    yield Crafted("RTP", UDP, ports(16384), voice, voice)
    report = (pack(">BBHI", 0x80, 200, 6, 7) + noise(20),)
    yield Crafted("RTCP", UDP, ports(16385), report, report)
    meeting = tuple(b"\x05\x10\x01" + n.to_bytes(2) + noise(141) for n in range(40))
    yield Crafted("a meeting", UDP, ports(8801), meeting, meeting)
    # Four bytes that WireGuard has too, in packets that are not its size.
    for kind in (1, 2, 3, 4):
        four = kind.to_bytes(4, "little")
        game = tuple(four + noise(size) for size in (12, 59, 61, 87, 89, 143, 145, 600))
        yield Crafted("a game with a small number first", UDP, ports(7777), game, game)
    yield Crafted(
        "Source engine",
        *(UDP, ports(27015)),
        (b"\xff\xff\xff\xffTSource Engine Query\0",),
        (b"\xff\xff\xff\xffI\x11server\0map\0" + noise(30),),
    )
    magic = bytes.fromhex("00ffff00fefefefefdfdfdfd12345678")
    yield Crafted(
        "RakNet",
        *(UDP, ports(19132)),
        (
            b"\x05" + magic + b"\x0b" + bytes(1400),
            b"\x01" + bytes(8) + magic + noise(8),
        ),
        (b"\x06" + magic + noise(8) + b"\0\x05\x78",),
    )
    kcp = tuple(b"\x11\x22\x33\x44\x51\0\x80\0" + noise(92) for _ in range(20))
    yield Crafted("KCP", UDP, ports(9000), kcp, kcp)
    # An OpenVPN opcode is one byte, and DNS has any two for an id.
    dns = tuple(
        bytes((opcode << 3, 7))
        + bytes.fromhex("01000001000000000000")
        + b"\x07example\x03org\0\0\x01\0\x01"
        for opcode in (1, 2, 4, 5, 7, 8, 10, 11)
    )
    yield Crafted("DNS", UDP, ports(53), dns, dns)
    yield Crafted("NTP", UDP, ports(123), (b"\x23\0\x06\xec" + noise(44),))


def constant_and_growing() -> Iterator[Crafted]:
    """On port 4500, what begins as ESP does: bytes that stay, then bytes that grow.

    uTP: type and version, extension, connection, two times (BEP 29). SRT: sequence
    number, message number, time, socket. KCP: conversation, command, window, time,
    sequence number. TURN: channel and length, then RTP (RFC 8656 section 12.4).
    """
    turns = range(1, 40)
    sizes = (20, 64, 172, 996, 1200)

    def both(kind: str, form: Callable[[int, int, int], bytes]) -> Crafted:
        up, down = (
            tuple(form(end, n, sizes[n % len(sizes)]) for n in turns) for end in (1, 2)
        )
        return Crafted(kind, UDP, (40000, 4500), up, down)

    yield both(
        "uTP",
        lambda end, n, size: (
            pack(">BBHIIIHH", 1, 0, 0x5A00 + end, n * 997, n * 31, 1 << 20, n, n - 1)
            + noise(size)
        ),
    )
    yield both(
        "SRT",
        lambda end, n, size: (
            pack(
                ">IIII", 0x1234567 * end + n, 0xE0000000 | n, n * 10_000, 0x3E2A00 + end
            )
            + noise(size)
        ),
    )
    yield both(
        "KCP",
        lambda end, n, size: (
            pack("<IBBHIIII", 0x11223300 * end, 81, 0, 128, n * 20, n, n - 1, size)
            + noise(size)
        ),
    )
    yield both(
        "RTP in a TURN channel",
        lambda end, n, size: (
            pack(">HH", 0x4000 + end, 12 + size)
            + pack(">BBHII", 0x80, 0x60, n, n * 960, end)
            + noise(size)
        ),
    )
    yield both(
        "ESP without its key exchange",
        lambda end, n, size: pack(">II", 0xC0FFEE00 + end, n) + noise(size),
    )


_INNER = bytes(12) + b"\x08\0" + b"\x45\0\0\x54" + bytes(80)


def other_tunnels() -> Iterator[Crafted]:
    """Encapsulations that are no tunnels for this product."""
    vxlan = (b"\x08\0\0\0\0\0\x2a\0" + _INNER,)
    geneve = (b"\0\0\x65\x58\0\0\x2a\0" + _INNER, b"\x08\x40\x65\x58" + _INNER)
    yield Crafted("VXLAN", UDP, (40000, 4789), vxlan, vxlan)
    yield Crafted("Geneve", UDP, (40000, 6081), geneve, geneve)
    gtp = (b"\x30\xff\0\x54\0\0\0\x01" + _INNER[14:],)
    yield Crafted("GTP-U", UDP, (2152, 2152), gtp, gtp)
    l2f = (pack(">BBBBHHH", 0x90, 1, 0, 1, 0, 0, 40) + noise(30),)
    yield Crafted("L2F", UDP, (1701, 1701), l2f, l2f)
    data = tuple(
        pack(">BBHH", 0, 2, 7, n) + b"\xff\x03\0\x21" + noise(40) for n in (1, 2)
    )
    yield Crafted("L2TP data without its control", UDP, (1701, 1701), data, data)
    yield Crafted("not IKE, on its port", UDP, (40000, 500), (noise(200), b"<18>boot"))
    hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + noise(506)
    for port in (443, 1194, 1723):
        yield Crafted("TLS", TCP, (40000, port), (hello,), (noise(0) + hello,))
    yield Crafted("HTTP", TCP, (40000, 1723), (b"GET / HTTP/1.1\r\n\r\n",))
    for header in (
        pack(">HH", 0, 0x0800),
        pack(">HHI", 0x2000, 0x0800, 42),
        pack(">HHII", 0x3000, 0x880B, 42, 1),
        pack(">HHI", 0x1000, 0x88BE, 1),
        pack(">HHI", 0x2000, 0x6558, 42),
    ):
        plain = (header + _INNER[14:],)
        yield Crafted("plain GRE", GRE, (0, 0), plain, plain)
