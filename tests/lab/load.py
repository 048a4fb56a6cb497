# SPDX-License-Identifier: GPL-2.0-or-later
"""Load across the lab, and what became of it.

Knows how to run numbered UDP streams and iperf3 between two places, and how to read
what the gateway's shaper passed; does not know tunnels: a place is an address,
inside a tunnel or not.
"""

import contextlib
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests import planes
from tests.lab import stream as stream_program
from tests.lab.namespaces import PATIENCE, LabError, Namespace, Process
from tests.lab.topology import Place
from vpngate.config import Plane

_ROOT = Path(__file__).parents[2]
_PROGRAM = (
    *("env", f"PYTHONPATH={_ROOT}"),
    *(sys.executable, "-S", "-m", "tests.lab.stream"),
)
_ports = itertools.count(20_000)
_LOOKS, _AT_ONCE = 5, 0.1  # attempts; seconds, a tenth of what a rate is told from
_LARGEST = 1600  # bytes of a packet of a stream, in a tunnel and with all its headers
_CLASS = re.compile(
    r"class htb (\S+) (?:root|parent (\S+)).*\n\s*Sent (\d+) bytes.*\n"
    r".*?backlog \S+ (\d+)p"
)


@dataclass(frozen=True)
class Shaped:
    """A leaf class of the shaper at a moment."""

    when: float  # time.monotonic()
    passed: int  # bytes so far
    waiting: int  # packets

    def rate_since(self, earlier: "Shaped") -> float:
        """bit/s between two moments of a class."""
        return (self.passed - earlier.passed) * 8 / (self.when - earlier.when)


@dataclass(frozen=True)
class Arrivals:
    """What a stream offered and what arrived of it."""

    sent: int
    received: int
    repeated: int
    missing: tuple[int, ...]  # of those before the last that came
    size: int  # bytes of payload in a datagram
    seconds: float
    bins: tuple[tuple[float, int], ...]  # (time.monotonic(), bytes) each 10 ms

    @property
    def lost(self) -> int:
        return self.sent - self.received

    @property
    def offered_rate(self) -> float:
        """bit/s of payload."""
        return self.sent * self.size * 8 / self.seconds

    @property
    def arrived_rate(self) -> float:
        """bit/s of payload, over the time of sending."""
        return self.received * self.size * 8 / self.seconds

    @property
    def share(self) -> float:
        """The part that arrived, 0 to 1."""
        return self.received / self.sent

    def rate_between(self, start: float, end: float) -> float:
        """bit/s of payload that arrived between two times of time.monotonic()."""
        inside = sum(size for when, size in self.bins if start <= when < end)
        return inside * 8 / (end - start)

    def first_fast(self, rate: float, after: float, width: float = 0.05) -> float:
        """When, after `after`, the arrivals first reach `rate` for `width` seconds."""
        for when, _ in self.bins:
            if when >= after and self.rate_between(when, when + width) >= rate:
                return when
        raise LabError(f"the stream never reached {rate / 1e6:.1f} Mbit/s again")


def _report(process: Process) -> dict[str, Any]:
    if process.wait(PATIENCE) != 0:
        raise LabError(f"{process.name} failed:\n{process.output()}")
    report: dict[str, Any] = json.loads(process.output().splitlines()[-1])
    return report


def _arrivals(sent: dict[str, Any], received: dict[str, Any]) -> Arrivals:
    return Arrivals(
        sent=sent["sent"],
        received=received["received"],
        repeated=received["repeated"],
        missing=tuple(received["missing"]),
        size=received["size"],
        seconds=sent["seconds"],
        bins=tuple((n * stream_program.BIN, size) for n, size in received["bins"]),
    )


class Stream:
    """A stream under way."""

    def __init__(self, sender: Process, receiver: Process, told: Path) -> None:
        self._sender = sender
        self._receiver = receiver
        self._told = told  # how many were sent

    def stop(self) -> Arrivals:
        """End the stream (unless its time is over already), return what arrived."""
        if self._sender.exit_status is None:
            self._sender.send(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = 0.0) -> Arrivals:
        """Wait for the end of a stream that was started with `seconds`."""
        self._sender.wait(seconds + PATIENCE)
        sent = _report(self._sender)
        self._told.write_text(str(sent["sent"]))
        self._receiver.send(signal.SIGTERM)
        return _arrivals(sent, _report(self._receiver))


@contextlib.contextmanager
def stream(
    sender: Place,
    receiver: Place,
    *,
    rate: float,
    seconds: float | None = None,
    size: int = 1200,
    pull: bool = False,
    both_ports: int | None = None,
) -> Iterator[Stream]:
    """A stream at `rate` bit/s of payload, under way when the block is entered.

    With `pull` the receiver opens the flow, as a download through a NAT needs. With
    `both_ports` either end has that port, so that a verdict can name the flow.
    """
    number = next(_ports)
    port = str(both_ports or number)
    told = receiver.namespace.folder / f"sent-{number}"
    listening, connecting = (sender, receiver) if pull else (receiver, sender)
    roles = {id(sender): "send", id(receiver): "receive"}
    options = ["--rate", str(rate), "--size", str(size)]
    if seconds is not None:
        options += ["--seconds", str(seconds)]
    if both_ports is not None:
        options += ["--own-port", str(both_ports)]
    with contextlib.ExitStack() as stack:
        ends: dict[str, Process] = {}
        for place, how in ((listening, "listen"), (connecting, "connect")):
            what = roles[id(place)]
            command = (*_PROGRAM, what, how, listening.address, port, *options)
            if what == "receive":
                command = (*command, "--told", str(told))
            ends[what] = stack.enter_context(place.namespace.running(*command))
            if how == "listen":
                ends[what].expect("listening")
        yield Stream(ends["send"], ends["receive"], told)


class Conversation(NamedTuple):
    """What two ends said to each other, and what arrived of it."""

    up: Arrivals  # from the end that connected
    down: Arrivals


class Exchange:
    """A conversation under way."""

    def __init__(self, connecting: Process, listening: Process) -> None:
        self._ends = (connecting, listening)

    def stop(self) -> Conversation:
        """End it, return what arrived either way."""
        for process in self._ends:
            process.send(signal.SIGTERM)
        near, far = map(_report, self._ends)
        return Conversation(up=_arrivals(near, far), down=_arrivals(far, near))


@contextlib.contextmanager
def exchange(
    connecting: Place,
    listening: Place,
    *,
    up: float,
    down: float,
    ports: tuple[int, int] | None = None,
    size: int = 1200,
    framing: str = "plain",
) -> Iterator[Exchange]:
    """Both ends of one flow send, at `up` and `down` bit/s of payload.

    `ports` are that of who connects and that of who listens; `framing` is what the
    datagrams look like (`framing.FRAMINGS`).
    """
    own, port = ports or (0, next(_ports))
    options = ["--own-address", connecting.address, "--own-port", str(own)]
    options += ["--size", str(size), "--framing", framing]
    with contextlib.ExitStack() as stack:
        made = []
        for place, how, rate in (
            (listening, "listen", down),
            (connecting, "connect", up),
        ):
            command = (*_PROGRAM, "both", how, listening.address, str(port), *options)
            process = place.namespace.running(*command, "--rate", str(rate))
            made.append(stack.enter_context(process))
            if how == "listen":
                made[0].expect("listening")
        yield Exchange(made[1], made[0])


def run_stream(
    sender: Place,
    receiver: Place,
    *,
    rate: float,
    seconds: float,
    size: int = 1200,
    pull: bool = False,
) -> Arrivals:
    """A whole stream of `seconds`."""
    with stream(
        sender, receiver, rate=rate, seconds=seconds, size=size, pull=pull
    ) as running:
        return running.wait(seconds)


def tcp_rate(
    client: Place,
    server: Place,
    *,
    seconds: int,
    download: bool = False,
    offered: float = 0.0,
) -> float:
    """bit/s that one iperf3 TCP connection carried, as its receiver counts.

    `offered` bit/s are sent, or as many as there is room for.
    """
    port = str(next(_ports))
    with server.namespace.running(
        "iperf3", "-s", "-1", "-B", server.address, "-p", port, "--forceflush"
    ) as listener:
        listener.expect("listening")
        answer = client.namespace.run(
            *("iperf3", "-c", server.address, "-p", port, "-t", str(seconds), "-J"),
            *(("-R",) if download else ()),
            *(("-b", f"{offered:.0f}") if offered else ()),
            timeout=seconds + PATIENCE,
        )
    return float(json.loads(answer)["end"]["sum_received"]["bits_per_second"])


def shaping_devices(gateway: Namespace) -> list[str]:
    """The shaping devices that exist on the gateway."""
    answer = _asked(gateway, "ip", "-j", "link", "show", "type", planes.KIND)
    names = [link["ifname"] for link in json.loads(answer or "[]") if link]
    if planes.PLANE is Plane.NFTABLES:
        return names
    return [name for name in names if name.startswith(planes.NEAR_END)]


def _asked(gateway: Namespace, *command: str) -> str:
    """What a program without a /sys of its own says: quick, for who asks often."""

    def run() -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return done.stdout  # nothing of a device that has just gone

    return gateway.call(run)


def classes(gateway: Namespace, device: str) -> dict[str, Shaped]:
    """What each leaf class of HTB on a device has passed so far, by device and id."""
    # tc(8) knows no JSON for classes.
    for _ in range(_LOOKS):
        begin = time.monotonic()
        text = _asked(gateway, "tc", "-s", "class", "show", "dev", device)
        end = time.monotonic()
        if end - begin < _AT_ONCE:  # else the moment of it is not known well
            break
    when = (begin + end) / 2
    found = [match.groups() for match in _CLASS.finditer(text)]
    parents = {parent for _, parent, *_ in found}
    return {
        f"{device} {handle}": Shaped(when, int(passed), int(waiting))
        for handle, _, passed, waiting in found
        if handle not in parents
    }


def shaped(gateway: Namespace) -> dict[str, Shaped]:
    """The same of all shaping devices."""
    found: dict[str, Shaped] = {}
    for device in shaping_devices(gateway):
        found |= classes(gateway, device)
    return found


def came_to(earlier: dict[str, Shaped], later: dict[str, Shaped]) -> int:
    """Bytes that came to the shaper between two looks at it, at least.

    What waited there at the first has not.
    """
    nothing = Shaped(0.0, 0, 0)
    found = 0
    for name, one in later.items():
        before = earlier.get(name, nothing)
        found += max(0, one.passed - before.passed - before.waiting * _LARGEST)
    return found


def shaped_bytes(gateway: Namespace) -> dict[str, int]:
    """Bytes that each leaf class of the shaping devices has passed, by class id."""
    return {name: one.passed for name, one in shaped(gateway).items()}


def shaped_rates(gateway: Namespace, seconds: float) -> dict[str, float]:
    """bit/s of each leaf class in the next `seconds`; idle ones are left out."""
    before = shaped(gateway)
    time.sleep(seconds)
    nothing = Shaped(time.monotonic() - seconds, 0, 0)
    rates = {
        name: one.rate_since(before.get(name, nothing))
        for name, one in shaped(gateway).items()
    }
    return {name: rate for name, rate in rates.items() if rate > 0}
