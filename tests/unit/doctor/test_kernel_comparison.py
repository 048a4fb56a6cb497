# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from a full comparison of the spared intervals."""

from typing import Any

import pytest

from vpngate.doctor.findings import Weight
from vpngate.doctor.kernel_comparison import judge_comparison

EQUAL: dict[str, Any] = {
    "equal": True,
    "compared": {"ipv4": 7, "ipv6": 3},
    "differing": {"ipv4": 0, "ipv6": 0},
    "surplus": {"ipv4": 0, "ipv6": 0},
    "repaired": [],
    "in_sync": True,
}


@pytest.mark.parametrize(
    ("change", "weight", "words"),
    [
        pytest.param({}, Weight.SOUND, "7 intervals, each as it should be", id="equal"),
        pytest.param(
            {"surplus": {"ipv4": None, "ipv6": None}},
            Weight.SOUND,
            "cannot tell",
            id="a kernel that does not count",
        ),
        pytest.param(
            {"differing": {"ipv4": 2, "ipv6": 0}, "surplus": {"ipv4": None, "ipv6": 0}},
            Weight.CONFLICT,
            "2 of 7 intervals were not what they should be; registered addresses could "
            "have been slowed; it has been put right",
            id="two differ",
        ),
        pytest.param(
            {"surplus": {"ipv4": 1, "ipv6": 0}, "in_sync": False},
            Weight.CONFLICT,
            "1 intervals too many; tunnels of others could have been left alone; it "
            "could not be put right",
            id="one too many, for good",
        ),
    ],
)
def test_each_family_is_judged(
    change: dict[str, Any], weight: Weight, words: str
) -> None:
    four, six = judge_comparison(EQUAL | change)
    assert (four.where, four.weight) == ("kernel: spared ipv4", weight)
    assert words in four.text
    assert (six.where, six.weight) == ("kernel: spared ipv6", Weight.SOUND)
