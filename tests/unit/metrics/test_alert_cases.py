# SPDX-License-Identifier: GPL-2.0-or-later
"""Each alert fires where it should, and is quiet where it nearly is so, by promtool."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.metrics.promtool import (
    ALERTS,
    FOLDER,
    ILL,
    RECORDING,
    Run,
    fleet,
    named,
    objections,
    sample,
)

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool"
)

# Everything that has fired at any time until now.
FIRED = (
    'group by (alertname, instance) (count_over_time(ALERTS{alertstate="firing"}[2d]))'
)
Series = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """What one gateway of three shows.

    firing   that the alert is about; for so many minutes
    quiet    that comes near it
    of_all   whether the alert is about the fleet, and names no gateway
    also     what rightly fires beside it
    """

    firing: Series
    quiet: Series
    minutes: int = 60
    of_all: bool = False
    also: tuple[str, ...] = ()


def gauge(name: str, *, ill: str, nearly: str, minutes: int = 60) -> Case:
    return Case({name: ill}, {name: nearly}, minutes)


def counter(name: str) -> Case:
    """One step is enough; a restart, after which it begins at 0, is none."""
    return Case({name: "0x20 1x40"}, {name: "7x20 0x40"})


def lasting(name: str) -> Case:
    """It has to go on; a single step is over too soon."""
    return Case({name: "0+5x60"}, {name: "0x20 1x40"})


OUTCOME = 'vpngate_second_reading_total{tunnel="pptp",outcome="%s"}'
LOST = 'vpngate_capture_lost_packets_total{reason="%s"}'
REFRESHED = "vpngate_registry_last_refresh_success_timestamp_seconds"
LAG = 'vpngate_event_loop_lag_seconds_bucket{le="%s"}'
OTHER, SAME = (
    f'vpngate_registry_info{{digest="{digest}"}}' for digest in ("b", "aaaa")
)
NEW, OLD = (f'vpngate_build_info{{version="{version}"}}' for version in "21")
ARMED, ENFORCE = "vpngate_deadman_armed", 'vpngate_mode{mode="enforce"}'
OBSERVE = 'vpngate_mode{mode="observe"}'

CASES = {
    "VpngateDown": gauge("up", ill="1x10 0x50", nearly="1x10 0x1 1x50"),
    "VpngateUnhealthy": gauge(
        "vpngate_healthy", ill="1x10 0x50", nearly="1x10 0x4 1x50"
    ),
    "VpngateConfigRefused": gauge(
        "vpngate_config_last_reload_successful",
        ill="1x10 0x50",
        nearly="1x10 0x4 1x50",
    ),
    "VpngateInterfaceLeftAlone": gauge(
        'vpngate_interfaces{state="left_alone"}', ill="0x9 1x50", nearly="0x9 1x8 0x50"
    ),
    "VpngateEventLoopLate": Case(
        {LAG % "0.05": "0+100x60", LAG % "0.1": "0+110x60"},
        # All of them late, and none too late.
        {LAG % "0.05": "0x60"},
    ),
    "VpngateHalted": counter('vpngate_halts_total{reason="witness"}'),
    "VpngateWitness": counter('vpngate_witness_packets_total{family="ipv4"}'),
    "VpngateNotArmed": Case(
        {ARMED: "1x10 0x50"},
        {ARMED: "0x60", ENFORCE: "0x60", OBSERVE: "1x60"},  # as it should be then
    ),
    "VpngateSparedPackets": lasting('vpngate_spared_packets_total{family="ipv6"}'),
    "VpngateVerdictsRefused": counter("vpngate_verdicts_refused_total"),
    "VpngateKernelOutOfSync": gauge(
        "vpngate_kernel_in_sync", ill="1x10 0x50", nearly="1x10 0x1 1x50"
    ),
    "VpngateKernelRepaired": counter('vpngate_kernel_repairs_total{what="ifb"}'),
    "VpngateCopiesLost": Case(
        {LOST % "overrun": "0x9 0+3x50"}, {LOST % "overrun": "0x9 1x50"}
    ),
    "VpngateCopiesHeldBack": counter(LOST % "limit"),
    "VpngateReversePathFailed": counter("vpngate_reverse_path_failed_packets_total"),
    "VpngateReadersDiffer": counter(OUTCOME % "differed"),
    "VpngateReadersBusy": counter(OUTCOME % "budget"),
    "VpngateReadersUnavailable": counter(OUTCOME % "unavailable"),
    "VpngateRegistryNotRefreshed": Case(
        {REFRESHED: "0x240"},
        {REFRESHED: "0x179 10740+60x60"},  # a minute before three hours are over
        240,
    ),
    "VpngateRegistryExpired": gauge(
        "vpngate_registry_expires_timestamp_seconds",
        ill="3000x60",
        nearly="3601x60",
    ),
    "VpngateRegistryRefused": gauge(
        "vpngate_registry_last_load_successful",
        ill="1x9 0x50",
        nearly="1x9 0x14 1x50",
    ),
    "VpngateRegistrySourceFails": counter(
        'vpngate_registry_source_failures_total{reason="timeout"}'
    ),
    "VpngateRowsRejected": Case(
        {"vpngate_registry_rows_rejected": "0x9 2x50"},
        # What was refused as a whole left no row out.
        {'vpngate_registry_loads_refused_total{reason="invalid"}': "0x9 1x50"},
    ),
    "VpngateRegistrationsEnding": Case(
        {'vpngate_registry_expiring_prefixes{within="7d"}': "0x9 4x50"},
        {'vpngate_registry_expiring_prefixes{within="30d"}': "4x60"},
    ),
    "VpngateFleetApart": Case(
        {SAME: "1x9 stale", OTHER: "_x10 1x170"},
        {SAME: "1x9 stale _x117 1x60", OTHER: "_x10 1x116 stale"},
        180,
        of_all=True,
    ),
    "VpngateRegistryBehind": gauge(
        "vpngate_registry_serial",
        ill="42x9 41x170",
        nearly="42x9 41x118 42x60",
        minutes=180,
    ),
    "VpngateVersionsDiffer": Case(
        {OLD: "1x9 stale", NEW: "_x10 1x1590"},
        {OLD: "1x9 stale", NEW: "_x10 1x1430"},
        1600,
        of_all=True,
    ),
}


def pace(minutes: int) -> int:
    """Minutes between evaluations: what goes on for a day is seen with fewer, too."""
    return 1 if minutes < 1000 else 10


def fired(*alerts: str) -> list[object]:
    return [
        sample(
            1,
            {"alertname": alert} | ({} if CASES[alert].of_all else {"instance": ILL}),
        )
        for alert in alerts
    ]


def test_no_alert_lacks_its_cases() -> None:
    assert named("alert", ALERTS) == list(CASES)


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_alone_and_is_quiet_when_it_nearly_is_so(
    alert: str, tmp_path: Path
) -> None:
    case = CASES[alert]
    minutes = case.minutes
    ill, well = fleet(minutes, case.firing), fleet(minutes, case.quiet)
    all_fired = fired(alert, *case.also)
    short = 1440 if alert == "VpngateVersionsDiffer" else minutes
    runs: list[Run] = [(minutes, ill, {FIRED: all_fired}), (short, well, {FIRED: []})]
    assert objections(tmp_path, ALERTS, runs, every=pace(minutes)) == ""


def test_promtool_does_look(tmp_path: Path) -> None:
    case, alert = CASES["VpngateHalted"], fired("VpngateHalted")
    ill, well = fleet(60, case.firing), fleet(60, case.quiet)
    wrong: list[Run] = [(60, ill, {FIRED: []}), (60, well, {FIRED: alert})]
    told = objections(tmp_path, ALERTS, wrong)
    assert told.count("exp:") == len(wrong), told


def test_all_is_quiet_in_a_fleet_on_which_all_is_well(tmp_path: Path) -> None:
    whole: Run = (1600, fleet(1600, {}), {FIRED: []})
    assert objections(tmp_path, ALERTS, [whole], every=pace(1600)) == ""


def test_what_is_recorded_is_what_it_says(tmp_path: Path) -> None:
    here = {"job": "vpngate", "instance": ILL}
    series = fleet(
        30,
        {
            SAME: "stale",
            OTHER: "1x30",
            "vpngate_registry_serial": "40x30",
            REFRESHED: "0x30",
            ENFORCE: "0x30",
        },
    )
    expected = {
        "instance:vpngate_traffic_bits:rate5m": 8000,
        "instance:vpngate_throttled_bits:rate5m": 800,
        "instance:vpngate_throttled_traffic:ratio_rate5m": 0.1,
        "instance:vpngate_throttled_flows:sum": 7,
        "instance:vpngate_verdict_latency_seconds:p99_5m": 0.0099,
        "instance:vpngate_event_loop_lag_seconds:p99_5m": 0.05 * 118.8 / 119,
        "job:vpngate_registry_digests:count": 2,
        "instance:vpngate_registry_apart:info": 1,
        "instance:vpngate_registry_serial:behind": 2,
        "instance:vpngate_registry_age_seconds:current": 1800,
        "job:vpngate_enforcing:count": 2,
    }
    assert named("record", RECORDING) == list(expected)
    asked: dict[str, list[object]] = {}
    for name, value in expected.items():
        labels = {"job": "vpngate"} if name.startswith("job:") else here
        chosen = ",".join(f'{key}="{text}"' for key, text in labels.items())
        # Rounded: promtool compares to the last bit.
        expr = f"round(sum by ({','.join(labels)}) ({name}{{{chosen}}}), 0.0001)"
        asked[expr] = [sample(round(value, 4), labels)]
    apart = "count(instance:vpngate_registry_apart:info)"  # nobody else is
    asked[apart] = [sample(1, {})]
    assert objections(tmp_path, RECORDING, [(30, series, asked)]) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("rules", "--lint=all", "--lint-fatal", str(ALERTS), str(RECORDING)),
        ("config", "--lint=all", "--lint-fatal", str(FOLDER / "prometheus.yml")),
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_promtool_has_nothing_to_say_against_the_files(
    arguments: tuple[str, ...],
) -> None:
    done = subprocess.run(
        ["promtool", "check", *arguments], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    whole = ALERTS.read_text()
    for rule in re.split(r"^ *- alert: ", whole, flags=re.MULTILINE)[1:]:
        assert re.search(r"severity: (critical|warning|info)\n", rule), rule
        assert re.search(r"summary: \S", rule), rule
        assert re.search(r"description: >-\n +\S", rule), rule
