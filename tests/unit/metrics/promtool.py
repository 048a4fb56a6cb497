# SPDX-License-Identifier: GPL-2.0-or-later
"""The shipped rules of Prometheus over time series that a test makes up.

Knows promtool's notation and a fleet of three gateways on which all is well, minute by
minute; does not know which alert is about what.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.house import ROOT

FOLDER = ROOT / "config" / "prometheus"
ALERTS, RECORDING = FOLDER / "alerts.yml", FOLDER / "recording.yml"
INSTANCES = ("gw1:9753", "gw2:9753", "gw3:9753")
ILL = INSTANCES[1]  # on which something is not well

Series = Mapping[str, str]  # by name and labels: values in promtool's notation
Labels = Mapping[str, str]
# Its length in minutes, its series, and what each expression has at its end.
Run = tuple[int, Mapping[str, str], Mapping[str, list[object]]]

# What a gateway shows on which all is well; 0 and 1 are held, the others grow a minute.
_HELD = {
    "up": 1,
    "vpngate_healthy": 1,
    "vpngate_config_last_reload_successful": 1,
    'vpngate_interfaces{state="attached"}': 2,
    'vpngate_interfaces{state="left_alone"}': 0,
    'vpngate_mode{mode="enforce"}': 1,
    'vpngate_mode{mode="observe"}': 0,
    "vpngate_deadman_armed": 1,
    "vpngate_kernel_in_sync": 1,
    'vpngate_halts_total{reason="witness"}': 0,
    'vpngate_witness_packets_total{family="ipv4"}': 0,
    'vpngate_spared_packets_total{family="ipv6"}': 3,
    "vpngate_verdicts_refused_total": 0,
    'vpngate_kernel_repairs_total{what="ifb"}': 0,
    'vpngate_capture_lost_packets_total{reason="overrun"}': 5,
    'vpngate_capture_lost_packets_total{reason="limit"}': 5,
    "vpngate_reverse_path_failed_packets_total": 0,
    'vpngate_second_reading_total{tunnel="pptp",outcome="differed"}': 0,
    'vpngate_second_reading_total{tunnel="pptp",outcome="budget"}': 0,
    'vpngate_second_reading_total{tunnel="pptp",outcome="unavailable"}': 0,
    'vpngate_registry_source_failures_total{reason="timeout"}': 2,
    "vpngate_registry_last_load_successful": 1,
    "vpngate_registry_expires_timestamp_seconds": 10**9,
    "vpngate_registry_rows_rejected": 0,
    'vpngate_registry_expiring_prefixes{within="24h"}': 0,
    'vpngate_registry_expiring_prefixes{within="7d"}': 0,
    "vpngate_registry_serial": 42,
    'vpngate_registry_info{digest="aaaa"}': 1,
    'vpngate_build_info{version="1"}': 1,
    'vpngate_throttled_flows{family="ipv4",tunnel="pptp"}': 3,
    'vpngate_throttled_flows{family="ipv6",tunnel="pptp"}': 4,
}
_GROWING = {
    "vpngate_registry_last_refresh_success_timestamp_seconds": 60,
    'vpngate_second_reading_total{tunnel="pptp",outcome="agreed"}': 10,
    'vpngate_event_loop_lag_seconds_bucket{le="0.05"}': 119,
    'vpngate_event_loop_lag_seconds_bucket{le="0.1"}': 120,
    'vpngate_event_loop_lag_seconds_bucket{le="1"}': 120,
    'vpngate_event_loop_lag_seconds_bucket{le="+Inf"}': 120,
    'vpngate_verdict_latency_seconds_bucket{le="0.01"}': 60,
    'vpngate_verdict_latency_seconds_bucket{le="+Inf"}': 60,
    'vpngate_traffic_bytes_total{direction="upload"}': 6000,
    'vpngate_traffic_bytes_total{direction="download"}': 54000,
    'vpngate_throttled_bytes_total{direction="upload"}': 600,
    'vpngate_throttled_bytes_total{direction="download"}': 5400,
}


def placed(name: str, instance: str) -> str:
    """A series as Prometheus knows it once it has scraped it from an instance."""
    bare, _, labels = name.partition("{")
    inner = f"{labels.removesuffix('}')}," if labels else ""
    return f'{bare}{{{inner}job="vpngate",instance="{instance}"}}'


def fleet(minutes: int, ill: Series) -> dict[str, str]:
    """The fleet for so long: `ill` are series of one gateway that are otherwise."""
    well = {name: f"{value}x{minutes}" for name, value in _HELD.items()}
    well |= {name: f"0+{step}x{minutes}" for name, step in _GROWING.items()}
    return {
        placed(name, instance): values
        for instance in INSTANCES
        for name, values in (well | (dict(ill) if instance == ILL else {})).items()
    }


def sample(value: float, labels: Labels) -> dict[str, object]:
    """A sample that promtool is to find."""
    inner = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return {"labels": f"{{{inner}}}", "value": value}


def objections(
    folder: Path, rules: Path, runs: Iterable[Run], *, every: int = 1
) -> str:
    """What promtool has to say of some runs, nothing if all is as expected.

    `every` so many minutes it evaluates all rules, which is what takes its time.
    """
    page = {
        "rule_files": [str(rules)],
        "evaluation_interval": f"{every}m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values}
                    for name, values in series.items()
                ],
                "promql_expr_test": [
                    {"expr": expr, "eval_time": f"{minutes}m", "exp_samples": found}
                    for expr, found in expected.items()
                ],
            }
            for minutes, series, expected in runs
        ],
    }
    path = folder / "cases.yml"
    path.write_text(json.dumps(page))
    done = subprocess.run(
        ["promtool", "test", "rules", path],
        capture_output=True,
        check=False,
        text=True,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def named(kind: str, rules: Path) -> list[str]:
    """The names of all alerts, or of all recorded series (`record`), of a file."""
    return re.findall(rf"^ *- {kind}: (\S+)$", rules.read_text(), re.MULTILINE)


def alone(*alerts: str) -> str:
    """The shipped file of alerts with no others in it."""
    kept = []
    keep = True
    for line in ALERTS.read_text().splitlines(keepends=True):
        if found := re.match(r"( *- alert: (\S+)|\S|  - name:)", line):
            keep = found[2] is None or found[2] in alerts
        if keep:
            kept.append(line)
    text = "".join(kept)
    assert re.findall(r"- alert: (\S+)", text) == [
        name for name in named("alert", ALERTS) if name in alerts
    ]
    return text
