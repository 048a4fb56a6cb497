# SPDX-License-Identifier: GPL-2.0-or-later
"""A gateway with several ports, and what a packet costs that comes in by each.

    subscribers ── first (lan0) ──┐
                ── ...            ├ gateway ── wan0 ── the rest, dropped
                ── deaf (lan7) ───┘

Everything is in network namespaces of its own. One thread sends slices of 512 frames
to each port in turn, and a packet is forwarded before its sending returns: so that
thread's time on a processor says what a packet costs, on a busy machine, too. Frames to
`deaf` carry another link address: they cost the sending, the link and the way up to the
gateway's IP, which drops them there. What a bare packet costs more than those is called
forwarding: less than it costs a gateway from wire to wire, so that no ratio flatters.

Knows ports by their names; does not know what stands at any of them.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.traffic import KINDS, Make, Port, frames
from tests.lab.namespaces import Namespace

BARE, DEAF = "bare", "deaf"
HOW = (
    "One thread sends slices of 512 frames to each port of one gateway in turn, and a "
    "packet is forwarded before its sending returns: its own time on a processor is "
    "what a packet costs. Sending it, the link and the way up to IP, which frames to "
    "another link address cost as well, are taken off what a bare port costs; the rest "
    "is called forwarding."
)
SLICE = 512  # frames, the sender's
_COLD = 8  # turns: as many as it takes until every frame has been sent once
_NOBODY = bytes.fromhex("020000000001")  # a link address
_MASQUERADING = (
    "add table ip masquerading; add chain ip masquerading out { type nat hook \
postrouting priority srcnat; }; add rule ip masquerading out oifname wan0 masquerade"
)

Slices = dict[tuple[str, str], npt.NDArray[np.float64]]  # by kind and port: ns a frame


class Gateway(NamedTuple):
    """The namespaces, and what frames to a port begin with, by its name."""

    subscribers: Namespace
    inner: Namespace
    rest: Namespace
    ports: dict[str, Port]

    def device(self, port: str) -> str:
        """What the gateway calls that port."""
        return f"lan{self.ports[port].number}"

    @contextlib.contextmanager
    def masquerading(self) -> Iterator[None]:
        """Translate the addresses of what is sent over IPv4, as home gateways do."""
        self.inner.run("nft", _MASQUERADING)
        try:
            yield
            path = "/proc/sys/net/netfilter/nf_conntrack_count"
            if int(self.inner.run("cat", path)) < SLICE:
                raise SystemExit("nothing was masqueraded")
        finally:
            self.inner.run("nft", "delete table ip masquerading")


@contextlib.contextmanager
def gateway(folder: Path, names: Sequence[str]) -> Iterator[Gateway]:
    """A gateway with these ports and a deaf one, and routes for all that is sent.

    What leaves it is dropped.
    """
    names = (*names, DEAF)
    with contextlib.ExitStack() as stack:
        made = [Namespace(name, folder) for name in ("subscribers", "gateway", "rest")]
        for one in made:
            stack.callback(one.close)
        subscribers, inner, rest = made
        inner.ip("link set lo up")
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            inner.sysctl(f"net.{key}", 1)
        for number, name in enumerate(names):
            inner.ip(
                f"link add lan{number} type veth peer name {name} "
                f"netns {subscribers.path}",
                f"addr add 10.1.{number}.1/24 dev lan{number}",
                f"addr add fd00:0:0:{0x100 + number:x}::1/64 dev lan{number} nodad",
                f"link set lan{number} up",
            )
            subscribers.ip(f"link set {name} up")
        _way_out(inner, rest)
        ports = {
            name: Port(
                _NOBODY if name == DEAF else _address(inner, f"lan{n}"),
                _address(subscribers, name),
                n,
            )
            for n, name in enumerate(names)
        }
        yield Gateway(subscribers, inner, rest, ports)


def _way_out(inner: Namespace, rest: Namespace) -> None:
    inner.ip(f"link add wan0 type veth peer name wan netns {rest.path}")
    rest.ip("link set wan up")
    beyond = _address(rest, "wan").hex(":")
    inner.ip(
        "link set wan0 up",
        "addr add 10.2.0.1/24 dev wan0",
        "addr add fd00:2::1/64 dev wan0 nodad",
        f"neigh replace 10.2.0.2 lladdr {beyond} dev wan0 nud permanent",
        f"neigh replace fd00:2::2 lladdr {beyond} dev wan0 nud permanent",
        "route add default via 10.2.0.2",
        "route add 2000::/3 via fd00:2::2",
    )
    rest.run(
        "nft",
        "add table netdev end; add chain netdev end dropped "
        "{ type filter hook ingress device wan priority 0; policy drop; }",
    )


def _address(namespace: Namespace, device: str) -> bytes:
    text = namespace.run("cat", f"/sys/class/net/{device}/address")
    return bytes.fromhex(text.strip().replace(":", ""))


class Measure:
    """Sends all kinds of traffic to all ports in turn."""

    def __init__(
        self, at: Gateway, folder: Path, kinds: Mapping[str, Make] = KINDS
    ) -> None:
        self._at = at
        self._program = folder / "sender"
        source = Path(__file__).with_name("sender.c")
        if not shutil.which("gcc"):
            raise SystemExit("gcc is missing: apt-get install gcc libc6-dev")
        subprocess.run(["gcc", "-O2", "-o", self._program, source], check=True)
        self._pairs = []
        for kind, make in kinds.items():
            for name, port in at.ports.items():
                file = folder / f"{kind}-{name}"
                file.write_bytes(frames(make, port))
                self._pairs.append(((kind, name), file))

    def slices(self, seconds: float, ports: Sequence[str]) -> Slices:
        """What a frame costs by each of these ports and by the deaf one, turn by turn.

        The first turns are left out: they are cold.
        """
        wanted = {*ports, DEAF}
        pairs = [pair for pair in self._pairs if pair[0][1] in wanted]
        before = self._arrived()
        words = [word for (_, port), file in pairs for word in (port, str(file))]
        command = ("nice", "-n", "-10", str(self._program), f"{seconds:g}")
        told = self._at.subscribers.run(*command, *words)
        lines = [line.split() for line in told.splitlines()]
        forwarded = sum(pairs[int(number)][0][1] != DEAF for number, _ in lines)
        arrived = self._arrived() - before
        if arrived < 0.99 * forwarded * SLICE:
            # They would cost next to nothing.
            raise SystemExit(f"{arrived:,} of {forwarded * SLICE:,} were forwarded")
        values = np.array([float(nanoseconds) for _, nanoseconds in lines])
        turns = values.reshape(-1, len(pairs))
        turns = turns[min(_COLD, len(turns) // 2) :]
        return {key: turns[:, n] for n, (key, _) in enumerate(pairs)}

    def _arrived(self) -> int:
        path = "/sys/class/net/wan/statistics/rx_packets"
        return int(self._at.rest.run("cat", path))
