# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's clock doubts itself when it jumps, also from one run to the next."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from vpngate.daemon import wall_clock
from vpngate.daemon.wall_clock import WallClock, read_machine
from vpngate.timekeeping.clock import Reading
from vpngate.timekeeping.moments import Span

START = 1_700_000_000.0
HOUR = 3600.0


@dataclass
class Machine:
    """Clocks that are moved by hand."""

    wall: float = START
    uptime: float = 50.0
    boot: str = "first"

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds

    def clock(self) -> WallClock:
        return WallClock(HOUR, lambda: Reading(self.wall, self.uptime, self.boot))


def test_time_passes() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_by(1000)
    assert clock.now() == START + 1000


@pytest.mark.parametrize("jump", [10 * HOUR, -10 * HOUR])
def test_a_jump_is_doubted_until_it_has_stood_for_long_enough(
    jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += jump
    machine.pass_by(5)
    ends = START + 5, START + 5 + jump
    assert clock.now() == Span(min(ends), max(ends))
    assert "the clock has jumped" in caplog.text
    machine.pass_by(HOUR)
    assert clock.now() == START + 5 + HOUR + jump


def test_a_restart_remembers_what_the_clock_showed() -> None:
    machine = Machine()
    kept = machine.clock().dump()
    machine.wall -= 40 * 365 * 24 * HOUR  # a boot in the past
    machine.uptime, machine.boot = 3.0, "second"
    again = machine.clock()
    again.restore(kept)
    assert again.now() == Span(machine.wall, START)


def test_damaged_memory_is_said_to_be() -> None:
    with pytest.raises(ValueError, match="clock"):
        Machine().clock().restore("{}")


def test_the_real_clocks_agree_with_each_other() -> None:
    assert isinstance(WallClock(HOUR).now(), float)


def test_the_clock_is_read_also_when_no_file_can_be_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is read for each packet: a machine out of file descriptors ends nothing."""
    boot = read_machine().boot
    monkeypatch.setattr(wall_clock, "_BOOT_ID", tmp_path / "none")
    assert read_machine().boot == boot
