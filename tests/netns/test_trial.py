# SPDX-License-Identifier: GPL-2.0-or-later
"""Trying the kernel's features: what is left out, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.rulesets import RULESET
from vpngate.config import examine_config
from vpngate.doctor import host
from vpngate.doctor.examination import examine
from vpngate.doctor.findings import Weight
from vpngate.kernel.shaping.devices.naming import ifb_name
from vpngate.kernel.survey import namespace, passage, trial
from vpngate.kernel.survey.passage import Passage, Whole
from vpngate.kernel.survey.trial import Feature
from vpngate.packets import Direction
from vpngate.prefixes.intervals import Intervals
from vpngate.ruleset import Ruleset

_HANDSHAKE = {Direction.UPLOAD: b"\x01\0\0\0" + bytes(144)}


def test_a_module_that_would_bring_interfaces_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine where ifb is a module: here it is part of the kernel."""
    monkeypatch.setattr(host, "is_loadable", lambda module: module == "ifb")
    text = '[gateway]\ninterfaces = ["lan*"]\n'
    examined = examine_config(text, where="x", known_tunnels=["wireguard"])
    assert examined.config is not None
    findings = examine(examined, examined.config, "x", str(tmp_path / "control.sock"))
    found = {finding.where: finding.weight for finding in findings}
    assert found["kernel: ifb"] is Weight.UNKNOWN
    assert found["kernel: HTB"] is Weight.SOUND
    assert found["capture: NFLOG"] is Weight.SOUND
    assert "kernel: upload through the whole data plane" not in found


def test_what_the_kernel_refuses_is_told_feature_by_feature() -> None:
    """Asked for on interfaces that there are not."""
    nowhere = namespace.Wire(1000, 1001, bytes(6), bytes(6))
    attempts = namespace.alone(lambda: trial.attempt(nowhere))
    refused = {one.feature for one in attempts if one.objection}
    # Before Linux 6.16 hooks are refused, too; since then they wait for the interface.
    assert refused >= {Feature.HTB, Feature.FQ_CODEL}
    without_interface = {Feature.NFTABLES, Feature.OWNER, Feature.IFB}
    assert not refused & (without_interface | {Feature.INTERVALS, Feature.TIMEOUTS})
    left_out = namespace.alone(lambda: trial.attempt(nowhere, [Feature.IFB]))
    assert {one.feature for one in left_out} == set(Feature) - {Feature.IFB}


def test_packets_that_do_not_arrive_are_noticed() -> None:
    """With everybody spared, none may be slowed: so the trial can fail."""
    ruleset = replace(RULESET, interfaces=(namespace.NEAR,))
    spared = Intervals.of_prefixes(["198.51.100.0/24"])

    def passages(one: Ruleset) -> list[bool]:
        def work() -> dict[Direction, Passage]:
            whole = Whole(None, ifb_name(one.table))
            wire = namespace.lay_wire()
            return passage.pass_through(one, wire, _HANDSHAKE, whole)

        return [each.whole for each in namespace.alone(work).values()]

    assert passages(ruleset) == [True, True]
    assert passages(replace(ruleset, spared=spared)) == [False, False]
    assert passages(replace(ruleset, enforce=False)) == []
