# SPDX-License-Identifier: GPL-2.0-or-later
"""What has grown between the fifth minute and the last."""

from tests.campaign.judge import Size
from tests.campaign.soak import Sample, growth


def _samples(last: float, *sizes: tuple[float, float, int]) -> list[Sample]:
    """A sample each five seconds; `sizes` hold from a second on."""
    made = []
    for number in range(int(last / 5) + 1):
        now = number * 5.0
        _, resident, descriptors = [one for one in sizes if one[0] <= now][-1]
        made.append(Sample(now, Size(resident, descriptors, 9)))
    return made


def test_what_is_flat_after_five_minutes_is_well() -> None:
    told, held = growth(_samples(1800, (0, 80, 30), (200, 120, 30), (900, 124, 30)))
    assert held == []
    assert any("+3.3%" in line for line in told)


def test_memory_that_grows_on_is_told() -> None:
    _, held = growth(_samples(1800, (0, 100, 30), (1000, 110, 30)))
    assert held == ["resident memory has grown by 10.0%"]


def test_a_descriptor_more_is_one_too_many() -> None:
    _, held = growth(_samples(1800, (0, 100, 30), (1000, 100, 31)))
    assert held == ["descriptors: 31, before that 30"]


def test_of_a_short_run_the_second_half_counts() -> None:
    _, held = growth(_samples(120, (0, 50, 20), (55, 100, 30)))
    assert held == []
