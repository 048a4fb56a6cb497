# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel is told of processors, and when it is not; in a made-up /sys."""

from pathlib import Path

import pytest

from vpngate.kernel.shaping.devices import steering
from vpngate.kernel.shaping.devices.steering import is_steered, steer

INDEX = 7


@pytest.fixture
def mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the device `far`, which nobody has steered; eight processors."""
    monkeypatch.setattr(steering, "_INTERFACES", tmp_path)
    monkeypatch.setattr(steering, "_PROCESSORS", tmp_path / "affinity")
    (tmp_path / "affinity").write_text("ff\n")
    made = tmp_path / "far/queues/rx-0/rps_cpus"
    made.parent.mkdir(parents=True)
    made.write_text("00\n")
    (tmp_path / "far/ifindex").write_text(f"{INDEX}\n")
    return made


def test_all_processors_that_take_interrupts(mask: Path) -> None:
    assert is_steered("far", INDEX) is False
    assert steer("far", INDEX)
    assert mask.read_text() == "ff\n"


@pytest.mark.parametrize("written", ["2\n", "00000000,80000000\n"])
def test_what_somebody_has_chosen_stays(mask: Path, written: str) -> None:
    mask.write_text(written)
    assert steer("far", INDEX)
    assert mask.read_text() == written


@pytest.mark.parametrize("zeros", ["0\n", "00000000,00000000\n"])
def test_as_many_zeros_as_there_are_processors(mask: Path, zeros: str) -> None:
    mask.write_text(zeros)
    assert is_steered("far", INDEX) is False


def test_the_device_of_another_namespace_is_left_alone(mask: Path) -> None:
    """/sys shows that of its mount: the name says nothing."""
    assert not steer("far", INDEX + 1)
    assert is_steered("far", INDEX + 1) is None
    assert mask.read_text() == "00\n"


def test_a_kernel_without_it(mask: Path) -> None:
    mask.unlink()
    assert not steer("far", INDEX)
    assert is_steered("far", INDEX) is None


def test_who_may_not(mask: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refused)
    assert not steer("far", INDEX)
    assert mask.read_text() == "00\n"


def test_a_machine_that_tells_of_no_interrupts(tmp_path: Path, mask: Path) -> None:
    (tmp_path / "affinity").unlink()
    assert not steer("far", INDEX)
    assert mask.read_text() == "00\n"
