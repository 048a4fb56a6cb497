# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a large capture: ordinary traffic and tunnels, repeated with fresh addresses.

    python bench/make_capture.py OUTPUT [--packets N] [--kind mixed|long|short]
                                        [--from FOLDER...] [--seed N]

With --from the traffic is that of the captures in folders (those on Ethernet),
without it is made up: web over TCP and QUIC, names, calls, and a WireGuard, an
OpenVPN and an ESP tunnel now and then, seeded. A kind says how: `long` is 40
conversations side by side, six tunnels among them, each as long as the capture;
`short` is very many of some six packets; `mixed` has conversations of some 50. The
same arguments make the same file.
"""

import argparse
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from vpngate.capture.files import pcap, pcapng
from vpngate.capture.files.record import CHUNK, Damage
from vpngate.capture.files.search import captures
from vpngate.link_layers import LinkType

SEED = 20263
PACKETS = 700_000
START = 1_700_000_000  # seconds since the epoch
STEP = 20  # microseconds between packets
ETHERNET = 14
MAC = bytes.fromhex("020000000002020000000001")
MADE_UP_CONVERSATIONS = 400
SHORT_CONVERSATIONS = 4000
SHORT = 0.05  # of the usual length of a conversation
USUAL_PACKETS = 60  # of a conversation, about
KINDS = ("mixed", "long", "short")

Said = tuple[bool, tuple[int, bytes]]
Conversation = Callable[[], Iterator[Said]]


def frames_below(folder: Path) -> Iterator[bytes]:
    """The Ethernet frames of every plain capture in a folder."""
    for _, path in captures(str(folder)):
        with path.open("rb") as stream:
            head = stream.read(CHUNK)
            form = pcap if pcap.is_pcap(head) else pcapng
            if form is pcapng and not pcapng.is_pcapng(head):
                continue
            try:
                for record in form.records(head, stream.read, lambda _: lambda _: True):
                    if record.link_type == LinkType.ETHERNET:
                        yield record.frame
            except Damage:
                continue


def udp(source: int, destination: int, payload: bytes) -> tuple[int, bytes]:
    return 17, struct.pack(">HHHxx", source, destination, 8 + len(payload)) + payload


def tcp(source: int, destination: int, flags: int, payload: bytes) -> tuple[int, bytes]:
    header = struct.pack(
        ">HHIIBBHHxx", source, destination, 1, 1, 0x50, flags, 64240, 0
    )
    return 6, header + payload


class Conversations:
    """Made-up conversations: (whether the initiator sends, protocol and content).

    `scale` is how much longer than usual they are.
    """

    def __init__(self, rng: random.Random, scale: float = 1) -> None:
        self.rng = rng
        self.scale = scale
        self.noise = rng.randbytes(1 << 16)
        self.kinds: list[Conversation] = [
            *[self.web] * 30,
            *[self.quic] * 20,
            *[self.name] * 35,
            *[self.call] * 5,
            *[self.wireguard, self.openvpn, self.esp],
        ]
        self.long_kinds: list[Conversation] = [
            *[self.web] * 16,
            *[self.quic] * 12,
            *[self.call] * 6,
            *[self.wireguard, self.openvpn, self.esp] * 2,
        ]

    def port(self) -> int:
        """An ephemeral port."""
        return self.rng.randint(32768, 60999)

    def times(self, least: int, most: int) -> range:
        """As often as usual, or longer or shorter."""
        return range(max(1, round(self.rng.randint(least, most) * self.scale)))

    def bulk(self, size: int) -> bytes:
        """Bytes that look random, cheaper than `randbytes`."""
        at = self.rng.randrange(len(self.noise) - size)
        return self.noise[at : at + size]

    def web(self) -> Iterator[Said]:
        """TLS over TCP: a download."""
        port, random_bytes = self.port(), self.rng.randbytes
        for ours, flags in ((True, 2), (False, 18), (True, 16)):
            yield ours, tcp(*((port, 443) if ours else (443, port)), flags, b"")
        yield True, tcp(port, 443, 24, b"\x16\x03\x01\x02\x00" + random_bytes(512))
        for _ in self.times(5, 80):
            yield (
                False,
                tcp(443, port, 16, b"\x17\x03\x03\x40\x00" + self.bulk(1420)),
            )
            if self.rng.random() < 0.5:
                yield True, tcp(port, 443, 16, b"")

    def quic(self) -> Iterator[Said]:
        """QUIC: a download."""
        port, random_bytes = self.port(), self.rng.randbytes
        yield True, udp(port, 443, b"\xc3\0\0\0\x01\x08" + random_bytes(1226))
        yield False, udp(443, port, b"\xc1\0\0\0\x01\x08" + random_bytes(1226))
        for _ in self.times(5, 80):
            short = bytes([0x40 | self.rng.getrandbits(6)])
            yield False, udp(443, port, short + self.bulk(1230))
            if self.rng.random() < 0.3:
                yield True, udp(port, 443, short + self.bulk(30))

    def name(self) -> Iterator[Said]:
        """A DNS query and its answer."""
        port, number = self.port(), self.rng.randbytes(2)
        asked = b"\x07example\x03com\0\0\x01\0\x01"
        yield True, udp(port, 53, number + b"\1\0\0\1\0\0\0\0\0\0" + asked)
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
        yield (
            False,
            udp(53, port, number + b"\x81\x80\0\1\0\1\0\0\0\0" + asked + answer),
        )

    def call(self) -> Iterator[Said]:
        """RTP both ways."""
        ours, theirs = self.port(), self.port()
        for number in self.times(50, 200):
            head = struct.pack(
                ">BBHII", 0x80, 0, number & 0xFFFF, number * 160 & 0xFFFFFFFF, 7
            )
            talk = head + self.bulk(160)
            yield True, udp(ours, theirs, talk)
            yield False, udp(theirs, ours, talk)

    def wireguard(self) -> Iterator[Said]:
        """A handshake and what comes down the tunnel."""
        port, random_bytes = self.port(), self.rng.randbytes
        ours, theirs = random_bytes(4), random_bytes(4)
        yield True, udp(port, 51820, b"\1\0\0\0" + ours + random_bytes(140))
        yield False, udp(51820, port, b"\2\0\0\0" + theirs + ours + random_bytes(80))
        for number in self.times(20, 100):
            sealed = struct.pack("<Q", number) + self.bulk(1392)
            yield False, udp(51820, port, b"\4\0\0\0" + ours + sealed)

    def openvpn(self) -> Iterator[Said]:
        """Hard resets, without tls-auth, and what comes down the tunnel."""
        port, random_bytes = self.port(), self.rng.randbytes
        ours, theirs = random_bytes(8), random_bytes(8)
        yield True, udp(port, 1194, b"\x38" + ours + bytes(5))
        answer = b"\x40" + theirs + b"\1" + bytes(4) + ours + bytes(4)
        yield False, udp(1194, port, answer)
        for _ in self.times(20, 100):
            yield False, udp(1194, port, b"\x48\0\0\0" + self.bulk(1400))

    def esp(self) -> Iterator[Said]:
        """ESP both ways."""
        ours, theirs = self.rng.randbytes(4), self.rng.randbytes(4)
        for number in self.times(20, 100):
            counted = struct.pack(">I", 1 + number)
            yield False, (50, theirs + counted + self.bulk(1396))
            yield True, (50, ours + counted + self.bulk(96))


def made_up_frames(rng: random.Random, *, short: bool) -> Iterator[bytes]:
    """The frames of some conversations, one after the other."""
    conversations = Conversations(rng, SHORT if short else 1)
    for _ in range(SHORT_CONVERSATIONS if short else MADE_UP_CONVERSATIONS):
        yield from frames_of(rng, rng.choice(conversations.kinds))


def side_by_side(rng: random.Random, packets: int) -> Iterator[bytes]:
    """Long conversations, a packet of one of them at a time, without end."""
    conversations = Conversations(rng, packets / USUAL_PACKETS)
    kinds = conversations.long_kinds
    going_on = [frames_of(rng, kind) for kind in kinds]
    while True:
        at = rng.randrange(len(kinds))
        frame = next(going_on[at], None)
        if frame is None:
            going_on[at] = frames_of(rng, kinds[at])
        else:
            yield frame


def frames_of(rng: random.Random, conversation: Conversation) -> Iterator[bytes]:
    """A conversation between seeded addresses, in Ethernet frames."""
    is_ipv6 = rng.random() < 0.3
    ends = [
        (bytes.fromhex("20010db8") + rng.randbytes(12))
        if is_ipv6
        else bytes([rng.randint(20, 90)]) + rng.randbytes(3)
        for _ in range(2)
    ]
    for ours, (protocol, content) in conversation():
        source, destination = ends if ours else reversed(ends)
        size = len(content)
        if is_ipv6:
            head = struct.pack(">IHBB", 6 << 28, size, protocol, 64)
            kind = b"\x86\xdd"
        else:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, protocol, 0)
            kind = b"\x08\0"
        yield MAC + kind + head + source + destination + content


def readdressed(frame: bytes, by: int) -> bytes:
    """The frame of the same flow between other addresses.

    The lower address moves up, the higher one down, by the same amount: no checksum
    notices (they add 16-bit words), and both directions stay one flow.
    """
    kind = frame[12:14]
    if kind == b"\x08\0":
        at, width, word = ETHERNET + 12, 4, 0
    elif kind == b"\x86\xdd":
        at, width, word = ETHERNET + 8, 16, 6
    else:
        return frame
    if len(frame) < at + 2 * width:
        return frame
    first = frame[at : at + width]
    second = frame[at + width : at + 2 * width]
    sign = 1 if first < second else -1
    return (
        frame[:at]
        + moved(first, word, sign * by)
        + moved(second, word, -sign * by)
        + frame[at + 2 * width :]
    )


def moved(address: bytes, word: int, by: int) -> bytes:
    value = (int.from_bytes(address[word : word + 2]) + by) % 0xFFFF
    return address[:word] + value.to_bytes(2) + address[word + 2 :]


def repeated(base: Sequence[bytes]) -> Iterator[bytes]:
    """The base over and over, each time with other addresses."""
    for number, frame in enumerate(cycle(base)):
        yield readdressed(frame, number // len(base) * 257)


def write(path: Path, frames: Iterator[bytes], packets: int) -> None:
    """Write so many packets."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for number, frame in enumerate(islice(frames, packets)):
            seconds, micro = divmod(number * STEP, 1_000_000)
            size = len(frame)
            out.write(struct.pack("<IIII", START + seconds, micro, size, size) + frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--packets", type=int, default=PACKETS)
    parser.add_argument(
        "--from", dest="folders", type=Path, metavar="FOLDER", nargs="+"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    args = parser.parse_args()
    rng = random.Random(args.seed)
    if args.folders:
        base = [frame for folder in args.folders for frame in frames_below(folder)]
        frames = repeated(base)
    elif args.kind == "long":
        frames = side_by_side(rng, args.packets)
    else:
        frames = repeated(list(made_up_frames(rng, short=args.kind == "short")))
    write(args.output, frames, args.packets)
    print(f"{args.output}: {args.packets} packets")


if __name__ == "__main__":
    main()
