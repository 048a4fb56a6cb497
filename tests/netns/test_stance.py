# SPDX-License-Identifier: GPL-2.0-or-later
"""What nobody confirms goes back, whatever is done to the daemon; observe is at once.

subscriber ── lan0 gateway: the daemon, and sources that drip on its loopback
"""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.lab.asked_kernel import is_armed
from tests.lab.daemon import HARNESS, VPNGATE, Daemon, Settings, daemon
from tests.lab.dripping import Dripping
from tests.lab.namespaces import PATIENCE, Namespace, settle
from vpngate.daemon.outside.client import request
from vpngate.timekeeping.moments import parse_moment

DAY = 86400.0
_LIBRARIES = "/usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1"
_PREFIXES = 100_000  # the kernel takes seconds for them
_DEADMAN = 30.0  # seconds, as shipped: what a stopped daemon would leave armed


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    namespace = Namespace("gateway", tmp_path_factory.mktemp("stance"))
    try:
        namespace.ip(
            "link set lo up",
            "link add lan0 type veth peer name subscriber",
            "addr add 100.64.0.1/24 dev lan0",
            "link set lan0 up",
            "link set subscriber up",
        )
        settle(namespace)
        yield namespace
    finally:
        namespace.close()


@pytest.fixture
def settings(gateway: Namespace) -> Settings:
    """Of a daemon that observes, as shipped."""
    settings = Settings(gateway.folder / f"daemon-{time.monotonic_ns()}")
    settings.change(gateway={"interfaces": ["lan0"]})
    return settings


def command(running: Daemon, *argv: str) -> tuple[int, str]:
    """How a command ended, and the one line that it said."""
    done = subprocess.run(
        [VPNGATE, *argv, "--socket", str(running.settings.socket)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    (line,) = (done.stdout + done.stderr).splitlines()
    return done.returncode, line


def stance(running: Daemon) -> dict[str, Any]:
    told = running.ask("status")["stance"]
    assert isinstance(told, dict)
    return told


def enforce(running: Daemon, *argv: str) -> float:
    """When it was asked for, and is in force."""
    asked = time.monotonic()
    status, line = command(running, "enforce", *argv)
    assert (status, line.startswith("enforce")) == (0, True), line
    return asked


class Ending(NamedTuple):
    """When a time is over that the daemon counts from some moment of a command on."""

    earliest: float  # time.monotonic()
    latest: float


def enforce_for_a_while(running: Daemon, *argv: str) -> Ending:
    """When it goes back, unless it is confirmed.

    A few seconds, unless this machine takes longer to have it in force.
    """
    for seconds in (4.0, 20.0, 60.0):
        asked = time.monotonic()
        within = ("--confirm-within", f"{seconds:g}s")
        status, line = command(running, "enforce", *within, *argv)
        answered = time.monotonic()
        if status == 0 and answered < asked + seconds / 2:
            break
        running.wait_until(lambda: stance(running)["confirm_by"] is None, "gone back")
    assert status == 0, line
    return Ending(asked + seconds, answered + seconds)


def gone_back(running: Daemon, why: str = "not confirmed") -> None:
    told = stance(running)
    assert told["mode"] == "observe"
    assert told["why"].startswith(why), told
    assert running.metric("vpngate_mode", mode="enforce") == 0
    status, line = command(running, "confirm")
    assert status == 1, line
    assert why in line


def test_a_stopped_daemon_leaves_nobody_slowed_beyond_the_time(
    gateway: Namespace, settings: Settings
) -> None:
    with daemon(gateway, settings) as running:
        assert not is_armed(running)
        end = enforce_for_a_while(running).latest
        while not (on := is_armed(running)) and time.monotonic() < end:
            time.sleep(0.05)
        assert on
        running.process.send(signal.SIGSTOP)
        try:
            time.sleep(max(0.0, end + 0.5 - time.monotonic()))
            beyond = time.monotonic() - end
            # The control: a switch armed as ever would be on for most of its time.
            assert not is_armed(running) or beyond > _DEADMAN / 2
        finally:
            running.process.send(signal.SIGCONT)
        gone_back(running)
        running.wait_until(lambda: not is_armed(running), "nobody slowed")


def test_a_killed_daemon_goes_on_only_with_what_is_still_allowed(
    gateway: Namespace, settings: Settings
) -> None:
    with daemon(gateway, settings) as running:
        enforce(running, "--share", "5", "--confirm-within", "60m")
        running.process.send(signal.SIGKILL)
        running.process.wait()
    with daemon(gateway, settings) as running:
        told = stance(running)
        assert (told["mode"], told["share"]) == ("enforce", 5)
        assert told["confirm_by"] is not None
        assert command(running, "confirm")[0] == 0
        end = enforce_for_a_while(running, "--share", "50").latest
        running.process.send(signal.SIGKILL)
        running.process.wait()
    time.sleep(max(0.0, end - time.monotonic()))
    with daemon(gateway, settings) as running:
        told = stance(running)
        assert (told["mode"], told["share"]) == ("enforce", 5), "as it was confirmed"
        assert told["why"] == "not confirmed"
        assert command(running, "observe")[0] == 0
        running.process.send(signal.SIGKILL)
        running.process.wait()
    with daemon(gateway, settings) as running:
        assert stance(running)["mode"] == "observe"


def test_a_clock_that_is_set_neither_ends_nor_prolongs_it(
    gateway: Namespace, settings: Settings
) -> None:
    libraries = sorted(map(str, Path("/").glob(_LIBRARIES[1:])))
    if not libraries:
        pytest.skip("needs faketime")
    shift = settings.folder / "shift"
    shift.write_text("+0d\n")
    preload = (
        "env",
        f"LD_PRELOAD={libraries[0]}",
        f"FAKETIME_TIMESTAMP_FILE={shift}",
        "FAKETIME_CACHE_DURATION=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "NO_FAKE_STAT=1",
    )
    with daemon(gateway, settings, (*preload, VPNGATE, "run")) as running:
        for days in (1, -1):
            end = enforce_for_a_while(running).earliest
            shift.write_text(f"{days:+}d\n")
            running.wait_until(
                lambda: stance(running)["mode"] == "observe", "observing"
            )
            assert time.monotonic() >= end
            gone_back(running)
            # The control: its clock was a day off when that happened.
            since = parse_moment(stance(running)["since"])
            assert abs(since - time.time() - days * DAY) < DAY / 2


@pytest.fixture
def dripping(gateway: Namespace) -> Iterator[list[Dripping]]:
    sources = [gateway.call(Dripping) for _ in range(2)]
    try:
        yield sources
    finally:
        for source in sources:
            source.close()


def test_observe_waits_for_no_registry_and_for_no_source(
    gateway: Namespace,
    settings: Settings,
    dripping: list[Dripping],
    record_property: Callable[[str, object], None],
) -> None:
    def observe(while_: str) -> None:
        asked = time.monotonic()
        told = running.ask("observe")["stance"]
        took = time.monotonic() - asked
        record_property(f"milliseconds_while_{while_}", round(1000 * took, 1))
        print(f"observe: {1000 * took:.1f} ms, {while_}")  # noqa: T201 - for -rP
        assert told.startswith("observe")
        assert not is_armed(running)

    with daemon(gateway, settings, (*HARNESS, "--making", "3")) as running:
        enforce(running)
        running.wait_until(lambda: is_armed(running), "armed")
        with settings.registry.open("a") as file:
            file.writelines(
                f"{32 + (n >> 15)}.{n >> 7 & 255}.{2 * n & 255}.0/25,R-1,,,\n"
                for n in range(_PREFIXES)
            )
        loading = threading.Thread(
            target=request,
            args=(settings.socket, "reload", {"accept_additions": True}),
            kwargs={"timeout": PATIENCE},
        )
        loading.start()
        running.wait_until(
            lambda: running.ask("changing") or not loading.is_alive(), "a change"
        )
        observe("loading")
        # The control: what it would have had to wait for goes on.
        assert loading.is_alive()
        loading.join()
        urls = [f"https://127.0.0.1:{each.port}/r.csv" for each in dripping]
        settings.change(registry={"sources": urls, "allow_unsigned": True})
        running.process.send(signal.SIGHUP)
        running.wait_until(dripping[0].asked.is_set, "dripping")
        enforce(running, "--share", "50")
        running.wait_until(lambda: is_armed(running), "armed again")
        observe("fetching")
        assert any(each.open for each in dripping)
        assert stance(running)["why"].startswith("asked: uid ")
