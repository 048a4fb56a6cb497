# SPDX-License-Identifier: GPL-2.0-or-later
"""Enforcing stops of itself and stays stopped, and nobody outside brings it about.

Nobody else can write an owned table, so what goes wrong is brought about by the
daemon's own socket (`tests/lab/harness.py`).
"""

import contextlib
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence

import pytest
from scapy.layers.inet import IP
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import Ether

from tests.lab import forging, uploads
from tests.lab.asked_kernel import counted, is_armed
from tests.lab.daemon import HARNESS, Daemon, daemon, enforcing_settings
from tests.lab.forging import Flow
from tests.lab.topology import Lab
from tests.lab.uploads import PORT, SINK, Sender
from vpngate.packets import Transport

PATIENCE = 60.0  # seconds until a halt: on a busy machine, too
_LOOKS = 3.0  # seconds in which there are some looks
_SHARE_OVER = 60.0  # seconds, of which 10 Mbit/s make a share worth anything
_MANY = 90  # subscribers
_RING = 1 << 18  # bytes of copies, over the eBPF plane: fewer than are left unread
_TO_REGISTER = slice(1, 11)  # of them, by one test: spared from then on
_NEVER_REGISTERED = slice(11, None)


@pytest.fixture(scope="module")
def wide(lab: Lab) -> Lab:
    uploads.widen(lab)
    return lab


@pytest.fixture(scope="module")
def subscribers(wide: Lab) -> Iterator[list[Sender]]:
    addresses = uploads.settle_down(wide.client, _MANY)
    with uploads.senders(wide.client, addresses) as made:
        yield made


@pytest.fixture(scope="module")
def started(wide: Lab) -> Iterator[Daemon]:
    settings = enforcing_settings(wide)
    settings.change(
        throttle={"rate": "50mbit"},
        capture={"packets_per_second": 1_000_000},
        registry={"allow_special": True},
    )
    # It looks at the kernel when a test asks for it, and not between. What passes in a
    # minute is enough for a share, not in ten.
    options = ("--verify-every", "3600", "--share-over", str(_SHARE_OVER))
    program = (*HARNESS, *options, "--ring", str(_RING))
    with daemon(wide.gateway, settings, program) as running:
        yield running


@pytest.fixture
def running(started: Daemon) -> Daemon:
    """Enforcing, for long enough after the last change that whatever is seen counts."""
    for mode in ("observe", "enforce"):  # another text of it is a person's word
        started.settings.change(gateway={"mode": mode})
        started.reload()
    started.wait_until(lambda: is_armed(started), "enforcing", PATIENCE)
    time.sleep(uploads.AFTER)
    return started


def halts(running: Daemon) -> list[str]:
    """The reasons of all halts, one after the other."""
    return re.findall(r"halted \((\w+)\)", running.process.output())


@contextlib.contextmanager
def halted(running: Daemon, reason: str) -> Iterator[None]:
    """It comes to that halt, to no other, and to nobody slowed."""
    before, counted = halts(running), halts_counted(running, reason)
    yield
    running.wait_until(lambda: halts(running) != before, f"halted: {reason}", PATIENCE)
    running.wait_until(lambda: not is_armed(running), "nobody slowed", PATIENCE)
    assert halts(running) == [*before, reason]
    assert halts_counted(running, reason) == counted + 1
    assert running.metric("vpngate_mode", mode="observe") == 1


def halts_counted(running: Daemon, reason: str) -> float:
    return running.metric("vpngate_halts_total", reason=reason)


@contextlib.contextmanager
def still_enforcing(running: Daemon) -> Iterator[None]:
    """Looks go by, and it is armed for all that they have seen."""
    before = halts(running)
    yield
    time.sleep(_LOOKS)
    assert halts(running) == before, running.process.tail()
    assert is_armed(running)


def slow(running: Daemon, remote: str, *some: Sender, remote_port: int = SINK) -> None:
    """A verdict for each, past every check."""
    for sender in some:
        running.ask(
            "throttle_regardless",
            subscriber=[sender.address, PORT],
            remote=[remote, remote_port],
        )


def test_one_packet_of_a_spared_address_is_the_last_that_is_slowed(
    wide: Lab, running: Daemon, subscribers: Sequence[Sender]
) -> None:
    """It is not resumed by a reload, nor by a start."""
    first, other = subscribers[:2]
    before = counted(running, "throttled_upload"), counted(running, "witness_ipv4")
    slow(running, wide.member.ipv4, first)
    slow(running, wide.stranger.ipv4, other)
    uploads.send(other, wide.stranger.ipv4, 5)
    running.wait_until(
        lambda: counted(running, "throttled_upload") == before[0] + 5, "slowed"
    )
    running.ask("ignore_spared")
    with halted(running, "witness"):
        begin = time.monotonic()
        uploads.send(first, wide.member.ipv4, 50)
        uploads.send(other, wide.stranger.ipv4, 50)
        while running.ask("status")["mode"] != "observe":
            assert time.monotonic() - begin < PATIENCE
        seconds = time.monotonic() - begin
        print(f"observing {1000 * seconds:.0f} ms after it")  # noqa: T201 - with -rP
    assert counted(running, "throttled_upload") == before[0] + 5 + 1
    assert counted(running, "witness_ipv4") == before[1] + 1
    running.reload()
    assert running.ask("status")["mode"] == "observe"
    assert not is_armed(running)


def test_what_waits_is_asked_of_the_prefix_tree(
    wide: Lab, running: Daemon, subscribers: Sequence[Sender]
) -> None:
    """Where the kernel's sets are wrong the witness sees nothing."""
    before = counted(running, "witness_ipv4")
    slow(running, wide.member.ipv4, subscribers[0])
    running.ask("lose_spared", prefix="203.0.113.0/24")
    with (
        halted(running, "witness"),
        uploads.load(subscribers[:1], wide.member.ipv4, rate=50e3, size=200),
    ):
        running.wait_until(lambda: not is_armed(running), "a sample", PATIENCE)
    assert counted(running, "witness_ipv4") == before
    running.ask("verify")


def test_spared_packets_in_the_throttle_chain_are_counted(
    wide: Lab, running: Daemon, subscribers: Sequence[Sender]
) -> None:
    before = counted(running, "spared_ipv4")
    slow(running, wide.member.ipv4, subscribers[0])
    with still_enforcing(running):
        uploads.send(subscribers[0], wide.member.ipv4, 99)
    assert counted(running, "spared_ipv4") == before + 99
    with halted(running, "spared_packets"):
        uploads.send(subscribers[0], wide.member.ipv4)


def test_kernel_and_registry_apart_twice(running: Daemon) -> None:
    running.ask("verify")
    for last in (False, True):
        running.ask("lose_spared", prefix="203.0.113.0/24")
        with halted(running, "disagreements") if last else still_enforcing(running):
            running.ask("verify")


def _esp(wide: Lab, senders: int) -> list[bytes]:
    """Large frames, of as many pairs of addresses: each is a batch of copies."""
    near, far = (one.ipv4.rpartition(".")[0] for one in (wide.client, wide.stranger))
    link = Ether(src=wide.client.mac, dst=wide.client.next_hop, type=0x0800)
    return [
        bytes(
            link
            / IP(src=f"{near}.{20 + one}", dst=f"{far}.10")
            / ESP(spi=0x1000 + one, seq=1, data=bytes(uploads.MTU - 100))
        )
        for one in range(senders)
    ]


def _unread(wide: Lab, running: Daemon) -> None:
    """Thousands of copies while the daemon stands still: more than its buffer takes."""
    *frames, later = _esp(wide, 201)
    waited = captured(running) + 100
    with wide.client.namespace.call(_raw) as link:
        running.process.send(signal.SIGSTOP)
        try:
            for _ in range(12):
                for frame in frames:
                    link.send(frame)
                    time.sleep(0.001)
        finally:
            running.process.send(signal.SIGCONT)
        running.wait_until(lambda: captured(running) >= waited, "copies", PATIENCE)

        def stops_with_another() -> bool:
            link.send(later)
            return not is_armed(running)

        # What is missing shows with a later copy, and counts with one after that.
        running.wait_until(stops_with_another, "later copies", PATIENCE)


def _raw() -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    opened.bind(("eth0", 0))
    return opened


def captured(running: Daemon) -> int:
    return int(running.ask("status")["capture"]["captured"])


def test_copies_that_nobody_read_halt(wide: Lab, running: Daemon) -> None:
    """Fewer than any machine should read: the daemon stands still."""
    with halted(running, "capture_loss"):
        _unread(wide, running)


def test_nobody_outside_brings_a_halt_about(
    wide: Lab, running: Daemon, subscribers: Sequence[Sender]
) -> None:
    """In the name of whoever is spared, into a slowed flow, from either side."""
    one, target = subscribers[0], wide.stranger.ipv4
    slow(running, target, one)
    ports = PORT, SINK, Transport.UDP
    forged = [
        Flow(wide.member.ipv4, target, *ports),
        Flow(one.address, wide.member.ipv4, *ports),
        Flow("100.64.1.1", target, *ports),  # the gateway's own
        Flow(wide.member.ipv4, one.address, *ports),
    ]
    names = [f"{what}_ipv{v}" for what in ("witness", "spared") for v in (4, 6)]
    before = [counted(running, name) for name in names]
    slowed = counted(running, "throttled_upload")
    with (
        still_enforcing(running),
        uploads.load([one], target, 1e6, size=1000),
        forging.mouth(wide.client) as inside,
        forging.mouth(wide.stranger) as outside,
    ):
        for flow in forged:
            for mouth in (inside, outside):
                for back in (False, True):
                    forging.tell(mouth, flow, b"x" * 100, back=back)
    assert counted(running, "throttled_upload") > slowed
    assert [counted(running, name) for name in names] == before


def test_registering_who_is_slowed_is_no_witness(
    wide: Lab, running: Daemon, subscribers: Sequence[Sender]
) -> None:
    """Each sends all the time, is slowed, and is registered meanwhile."""
    target, some = wide.stranger.ipv4, subscribers[_TO_REGISTER]
    before = counted(running, "witness_ipv4"), counted(running, "throttled_upload")
    slow(running, target, *some)
    with still_enforcing(running), uploads.load(some, target, 20e6, size=1000):
        for one in some:
            running.settings.register(f"{one.address}/32")
            running.ask("reload", accept_additions=True)
        time.sleep(uploads.AFTER)
    assert counted(running, "throttled_upload") > before[1]
    assert counted(running, "witness_ipv4") == before[0]


def test_a_large_share_halts_and_a_few_heavy_tunnels_do_not(
    wide: Lab, running: Daemon, subscribers: Sequence[Sender]
) -> None:
    """What sixteen subscribers may pass is left out: 64 Mbit/s of both ways here."""
    plain, *tunnels = subscribers[_NEVER_REGISTERED]
    target = wide.stranger.ipv4
    running.settings.change(throttle={"rate": "2mbit"}, halt={"throttled_share": "5%"})
    running.reload()

    def traffic() -> float:
        return running.metric("vpngate_traffic_bytes_total", direction="upload")

    try:
        slow(running, target, *tunnels[:10])
        before = traffic()
        with (
            still_enforcing(running),
            uploads.load([plain], target, 600e6),
            uploads.load(tunnels[:10], target, 100e6),
        ):
            enough = 1.2 * 10e6 / 8 * _SHARE_OVER
            running.wait_until(lambda: traffic() - before > enough, "traffic", 180)
            time.sleep(_LOOKS)
        slow(running, target, *tunnels)
        with (
            halted(running, "throttled_share"),
            uploads.load(tunnels, target, 240e6),
        ):
            running.wait_until(lambda: not is_armed(running), "a large share", 180)
    finally:
        running.settings.change(
            throttle={"rate": "50mbit"}, halt={"throttled_share": "30%"}
        )
        running.reload()
