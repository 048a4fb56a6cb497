# SPDX-License-Identifier: GPL-2.0-or-later
"""What the presence and absence of kernel features mean."""

import pytest

from vpngate.config import Plane
from vpngate.doctor.features import (
    FEATURES,
    Need,
    judge_attempts,
    judge_copies,
    judge_passages,
    judge_release,
    judge_reverse_path,
    judge_untried,
)
from vpngate.doctor.findings import Weight
from vpngate.kernel.survey.passage import Passage
from vpngate.kernel.survey.trial import Attempt, Feature
from vpngate.packets import Direction


@pytest.mark.parametrize(
    ("release", "weight"),
    [
        ("5.15.0-91-generic", Weight.MISSING),
        ("4.19.0", Weight.MISSING),
        ("5.16.0", Weight.COST),
        ("6.1.0-18-amd64", Weight.COST),
        ("6.12", Weight.SOUND),
        ("7.0-rc1", Weight.SOUND),
        ("next", Weight.UNKNOWN),
    ],
)
def test_release(release: str, weight: Weight) -> None:
    finding = judge_release(release)
    assert (finding.weight, finding.where) == (weight, f"kernel {release}")


@pytest.mark.parametrize(
    ("release", "weight"),
    [
        ("5.17.9", Weight.MISSING),
        ("5.18", Weight.COST),
        ("6.1.0-18-amd64", Weight.COST),
        ("6.5.9", Weight.COST),
        ("6.6.0", Weight.SOUND),
        ("next", Weight.UNKNOWN),
    ],
)
def test_release_for_programs(release: str, weight: Weight) -> None:
    assert judge_release(release, Plane.EBPF).weight is weight


def test_every_feature_is_known() -> None:
    assert set(FEATURES) == set(Feature)
    for known in FEATURES.values():
        assert known.source
        assert known.cost or known.need.cost


@pytest.mark.parametrize("feature", Feature)
def test_a_feature_that_is_there_and_one_that_is_not(feature: Feature) -> None:
    sound, lacking = judge_attempts([Attempt(feature, ""), Attempt(feature, "no room")])
    assert sound.weight is Weight.SOUND
    comfort = FEATURES[feature].need is Need.COMFORT
    assert lacking.weight is (Weight.COST if comfort else Weight.MISSING)
    assert "no room" in lacking.what
    assert lacking.cost
    assert FEATURES[feature].source in lacking.remedy


def test_what_is_degraded_only() -> None:
    degraded = {f for f, known in FEATURES.items() if known.need is Need.COMFORT}
    assert degraded == {Feature.FQ_CODEL, Feature.TCX}


def test_packets_that_arrived_and_packets_that_did_not() -> None:
    passages = {
        Direction.UPLOAD: Passage(3, 3, 3, 3),
        Direction.DOWNLOAD: Passage(3, 3, 1, 3),
    }
    up, down = judge_passages(passages)
    assert up.weight is Weight.SOUND
    assert down.weight is Weight.MISSING
    assert "3 were found, 1 shaped, and 3 arrived" in down.what
    assert down.cost == "downloads are not slowed"


def test_packets_that_are_slowed_and_lost() -> None:
    (lost,) = judge_passages({Direction.DOWNLOAD: Passage(3, 3, 3, 0)})
    assert lost.weight is Weight.MISSING
    assert "3 shaped, and 0 arrived" in lost.what
    assert lost.cost == "downloads that are to be slowed are lost"


def test_copies() -> None:
    assert judge_copies("NFLOG", set(Direction)).weight is Weight.SOUND
    finding = judge_copies("NFLOG", {Direction.UPLOAD})
    assert finding.weight is Weight.MISSING
    assert finding.what == "a handshake was sent, and not received: the download"
    assert "the upload and the download" in judge_copies("NFLOG", set()).what


def test_a_forged_source() -> None:
    assert judge_reverse_path(stray_came=False).weight is Weight.SOUND
    assert judge_reverse_path(stray_came=True).weight is Weight.MISSING


def test_a_module_that_is_better_not_loaded() -> None:
    finding = judge_untried("ifb")
    assert finding.weight is Weight.UNKNOWN
    assert "modprobe ifb" in finding.remedy
