# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that faults befall: the lab, the flows through it, and the daemon.

Knows how it is built, brought into a state to begin from, and found well again; does
not know faults, nor what is held against a daemon.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import asked
from tests.campaign.counts import Kind
from tests.campaign.subject import Subject
from tests.campaign.watch import Watch, Way, watching
from tests.lab import load, topology, wireguard
from tests.lab.attachings import by_filters
from tests.lab.namespaces import PATIENCE, LabError, Namespace, settle, wait_until
from tests.lab.topology import Host, Lab, Place
from tests.lab.wireguard import WireGuard
from vpngate.config import Mode
from vpngate.errors import VpngateError
from vpngate.stance import Enforce, HaltReason, Observe

CONTROL = topology.Wire(5, "control", "ctl0", "100.64.9", "2001:db8:64:9:", "2")
LINKS = ("lan0", CONTROL.port)  # of the flows and of their controls
_HANDSHAKE = 5.0  # seconds until another, where one was not seen


@dataclass
class World:
    """What faults befall.

    found  what a fault itself has found wrong, in words
    noted  what it has to say besides
    """

    lab: Lab
    control: Host
    tunnel: WireGuard  # not registered
    watch: Watch
    subject: Subject
    found: list[str]
    noted: list[str]

    @property
    def gateway(self) -> Namespace:
        return self.lab.gateway

    def hold(self, held: bool, what: str) -> None:  # noqa: FBT001 - as assert has it
        """Note what is found where something does not hold."""
        if not held:
            self.found.append(what)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> float:
        """Wait for what has to come true; how long it took. Noted if it does not."""
        begin = time.monotonic()
        try:
            wait_until(condition, what, seconds)
        except LabError as error:
            self.found.append(str(error))
        return time.monotonic() - begin

    # The kernel, asked past the daemon.

    def has_table(self) -> bool:
        return "vpngate" in self.gateway.run("nft", "list", "tables", "netdev")

    def is_armed(self) -> bool:
        """Whether the kernel would slow anybody, at this moment and by itself."""
        return asked.is_armed(self.gateway, self.subject.process.pid)

    def slowed(self) -> int:
        """Packets that were slowed until now, as the kernel counts."""
        return asked.slowed(self.gateway, self.subject.process.pid)

    def leads_on(self) -> bool:
        """Whether programs at the subscribers' interfaces have anywhere to go on at."""
        return asked.leads_on(self.gateway, topology.SUBSCRIBER_INTERFACES)

    def standing(self) -> list[int]:
        """The programs at the subscribers' interfaces, by number."""
        return asked.standing(self.gateway, topology.SUBSCRIBER_INTERFACES)

    def ifbs(self) -> list[str]:
        """Where slowed packets wait; the near end of each, of pairs."""
        return load.shaping_devices(self.gateway)

    # A state to begin from, and well again.

    def begin(self, *, enforcing: bool, clock: bool = False) -> None:
        """The daemon is up, of that stance, and slows whom it should. LabError else.

        With a clock that can be moved, or without: what moves it is a library, which
        knows no better than to fail where descriptors are short.
        """
        if self.subject.with_clock is not clock:
            self.subject.with_clock = clock
            self.subject.end()
        if not self.subject.is_up:
            self.subject.start()
        self._stand(enforcing=enforcing)
        if enforcing:
            self.wait_until_slowed()
        else:
            wait_until(lambda: not self.is_armed(), "nobody slowed")

    def _stand(self, *, enforcing: bool) -> None:
        stance = self.subject.stance
        if enforcing and (stance.mode, stance.share) != (Mode.ENFORCE, 100):
            self.subject.order("enforce", share=100)
            self.subject.follows(Enforce(100))
        elif not enforcing and stance.mode is not Mode.OBSERVE:
            self.subject.order("observe")
            self.subject.follows(Observe())

    def wait_until_slowed(self) -> None:
        """Wait until the kernel slows the unregistered tunnel, with a new handshake.

        Another one where that was not seen: behind a flood copies are held back.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._is_slowed(0.5):
            if time.monotonic() > deadline:
                raise LabError(f"nobody is slowed:\n{self.subject.process.tail()}")
            self.tunnel.shake_hands()
            with contextlib.suppress(LabError):
                wait_until(lambda: self._is_slowed(0.1), "slowed", _HANDSHAKE)

    def _is_slowed(self, seconds: float) -> bool:
        before, deadline = self.slowed(), time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if self.slowed() > before:
                return True
        return False

    def is_well(self, may_halt: Collection[HaltReason] = ()) -> bool:
        """Whether the daemon says so, and the kernel is armed as it should be.

        Or has halted for one of these reasons, and armed nothing.
        """
        status = self.subject.status()
        if status is None:
            return False
        why = status["stance"]["why"]
        if any(why.startswith(f"halted ({reason})") for reason in may_halt):
            return not status["kernel"]["armed"]
        armed = status["kernel"]["armed"] is (status["mode"] == "enforce")
        return bool(status["healthy"] and armed and status["interfaces"])

    def reload(self, *, within: float = PATIENCE) -> str:
        """Have it reload; what it said against that, empty if nothing."""
        try:
            self.subject.order("reload", within=within)
        except VpngateError as error:
            return "; ".join(error.lines)
        return ""


def _ways(lab: Lab, control: Host, tunnels: dict[str, WireGuard]) -> list[Way]:
    """The flows, in each direction."""

    def both(kind: Kind, of_control: bool, near: Place, far: Place) -> list[Way]:  # noqa: FBT001
        return [
            Way(kind, of_control, near, far),
            Way(kind, of_control, far, near),
        ]

    def inside(name: str) -> tuple[Place, Place]:
        return tunnels[name].client, tunnels[name].server

    client, other, far = lab.client.at(), control.at(), lab.stranger.at()
    return [
        *both(Kind.DATAGRAMS, False, client, far),
        *both(Kind.DATAGRAMS, True, other, far),
        Way(Kind.STREAM, False, far, client),
        Way(Kind.STREAM, True, far, other),
        *both(Kind.REGISTERED, False, *inside("registered")),
        *both(Kind.REGISTERED, True, *inside("control")),
        *both(Kind.UNREGISTERED, False, *inside("unregistered")),
    ]


def _control(lab: Lab, stack: contextlib.ExitStack) -> Host:
    """A subscriber behind an interface that vpngate has no hook on."""
    namespace = Namespace("control", lab.folder)
    stack.callback(namespace.close)
    topology.quiet(namespace)
    topology.lay(CONTROL, namespace, lab.gateway)
    settle(namespace, lab.gateway)
    return Host(
        namespace,
        f"{CONTROL.ipv4}.{CONTROL.last}",
        f"{CONTROL.ipv6}:{CONTROL.last}",
        CONTROL.mac,
        CONTROL.port_mac,
    )


def _prepare_hooks(gateway: Namespace) -> None:
    """Hang clsact in before, as whoever cannot afford to lose a packet by it does.

    The kernel stops an interface while a daemon does that, and the control's has none.
    """
    if by_filters():
        for name in LINKS:
            gateway.run("tc", "qdisc", "add", "dev", name, "clsact")


@contextlib.contextmanager
def built() -> Iterator[World]:
    """All of it, the flows under way; nothing is left of it behind the block."""
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(topology.build())
        control = _control(lab, stack)
        _prepare_hooks(lab.gateway)
        tunnels = {
            name: stack.enter_context(wireguard.tunnel(client, server))
            for name, client, server in (
                ("registered", lab.client, lab.member),
                ("control", control, lab.member),
                ("unregistered", lab.client, lab.stranger),
            )
        }
        folder = Path(lab.folder)
        subject = stack.enter_context(Subject.prepared(lab.gateway, folder / "subject"))
        watch = stack.enter_context(
            watching(_ways(lab, control, tunnels), folder, wait_until)
        )
        subject.start()
        unregistered = tunnels["unregistered"]
        yield World(lab, control, unregistered, watch, subject, [], [])
