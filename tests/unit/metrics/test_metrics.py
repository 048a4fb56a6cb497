# SPDX-License-Identifier: GPL-2.0-or-later
"""Every metric: its name, kind and labels, and what moves it."""

import re
import shutil
import subprocess
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.house import ROOT
from vpngate.config import Mode
from vpngate.metrics import Metrics, RegistryFacts
from vpngate.packets import Family
from vpngate.policy import Verdict
from vpngate.recognition import Evidence
from vpngate.second_reading import Outcome

# As operators' dashboards and alerts know them: these, and no others.
PINNED = {
    "vpngate_build_info": ("gauge", {"version"}),
    "vpngate_healthy": ("gauge", set()),
    "vpngate_mode": ("gauge", {"mode"}),
    "vpngate_stance_until_timestamp_seconds": ("gauge", set()),
    "vpngate_interfaces": ("gauge", {"state"}),
    "vpngate_enforced_share_ratio": ("gauge", set()),
    "vpngate_registry_prefixes": ("gauge", {"family"}),
    "vpngate_registry_serial": ("gauge", set()),
    "vpngate_registry_generated_timestamp_seconds": ("gauge", set()),
    "vpngate_registry_expiring_prefixes": ("gauge", {"within"}),
    "vpngate_registry_rows_rejected": ("gauge", set()),
    "vpngate_registry_expires_timestamp_seconds": ("gauge", set()),
    "vpngate_registry_grace_prefixes": ("gauge", {"family"}),
    "vpngate_registry_info": ("gauge", {"digest"}),
    "vpngate_registry_public_key_info": ("gauge", {"key_id"}),
    "vpngate_config_last_reload_successful": ("gauge", set()),
    "vpngate_config_last_reload_success_timestamp_seconds": ("gauge", set()),
    "vpngate_registry_last_load_successful": ("gauge", set()),
    "vpngate_registry_last_load_success_timestamp_seconds": ("gauge", set()),
    "vpngate_registry_last_refresh_success_timestamp_seconds": ("gauge", set()),
    "vpngate_registry_loads_refused_total": ("counter", {"reason"}),
    "vpngate_registry_source_failures_total": ("counter", {"reason"}),
    "vpngate_handshakes_total": ("counter", {"tunnel", "evidence"}),
    "vpngate_flows_total": ("counter", {"tunnel", "family", "verdict"}),
    "vpngate_second_reading_total": ("counter", {"tunnel", "outcome"}),
    "vpngate_traffic_packets_total": ("counter", {"direction"}),
    "vpngate_traffic_bytes_total": ("counter", {"direction"}),
    "vpngate_throttled_flows": ("gauge", {"family", "tunnel"}),
    "vpngate_throttled_subscribers": ("gauge", set()),
    "vpngate_event_loop_lag_seconds_count": ("histogram", set()),
    "vpngate_throttled_bytes_total": ("counter", {"direction"}),
    "vpngate_throttled_packets_total": ("counter", {"direction"}),
    "vpngate_throttle_dropped_packets_total": ("counter", {"direction"}),
    "vpngate_spared_packets_total": ("counter", {"family"}),
    "vpngate_witness_packets_total": ("counter", {"family"}),
    "vpngate_throttle_shared_buckets": ("gauge", set()),
    "vpngate_verdicts_refused_total": ("counter", set()),
    "vpngate_reverse_path_failed_packets_total": ("counter", set()),
    "vpngate_captured_packets_total": ("counter", set()),
    "vpngate_capture_lost_packets_total": ("counter", {"reason"}),
    "vpngate_verdict_latency_seconds_count": ("histogram", set()),
    "vpngate_kernel_in_sync": ("gauge", set()),
    "vpngate_kernel_repairs_total": ("counter", {"what"}),
    "vpngate_deadman_armed": ("gauge", set()),
    "vpngate_halts_total": ("counter", {"reason"}),
}


@dataclass(frozen=True)
class Totals:
    traffic_packets: dict[str, int] = field(default_factory=dict)
    traffic_bytes: dict[str, int] = field(default_factory=dict)
    throttled_packets: dict[str, int] = field(default_factory=dict)
    throttled_bytes: dict[str, int] = field(default_factory=dict)
    dropped_packets: dict[str, int] = field(default_factory=dict)
    spared_packets: dict[str, int] = field(default_factory=dict)
    witness_packets: dict[str, int] = field(default_factory=dict)
    reverse_path_failed: int = 0
    copies_held_back: int = 0
    throttled_by_tunnel: dict[str, dict[str, int]] = field(default_factory=dict)
    throttled_subscribers: int = 0
    buckets_shared: int = 0
    verdicts_refused: int = 0


def moved() -> Metrics:
    """Metrics of a daemon to which everything has happened."""
    metrics = Metrics("1.2.3", ["wireguard", "pptp"])
    metrics.mode(Mode.ENFORCE, 0.25)
    metrics.config_taken(1000.5)
    metrics.registry_taken(
        RegistryFacts(
            {Family.IPV4: 3, Family.IPV6: 1},
            rejected_rows=2,
            serial=42,
            generated=999.0,
            expires=2000.0,
            expiring={"24h": 1, "7d": 2},
            grace={Family.IPV6: 6},
            digest="0123456789abcdef",
        ),
        1001.0,
    )
    metrics.public_keys(["E7620F1842B4E81F"])
    metrics.registry_refused("empty")
    metrics.source_failed("empty")
    metrics.handshake("wireguard", Evidence.CONFIRMED)
    metrics.flow("wireguard", Family.IPV6, Verdict.THROTTLE)
    metrics.second_reading("wireguard", Outcome.DIFFERED)
    metrics.captured(5)
    metrics.lost("enobufs", 2)
    metrics.verdict_in_kernel(0.004)
    metrics.loop_lag(0.03)
    metrics.health(lambda: True)
    metrics.in_sync(True)
    metrics.repaired("hook")
    metrics.armed(True)
    metrics.interfaces(3, 1)
    metrics.halted("errors")
    metrics.kernel(
        Totals(
            {"upload": 1000},
            {"download": 2000},
            {"upload": 7},
            {"upload": 700, "download": 100},
            {"download": 1},
            {"ipv4": 4},
            {"ipv6": 9},
            5,
            6,
            {"ipv6": {"wireguard": 1, "new": 4}},
            8,
            2,
            3,
        )
    )
    return metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """`name{label="value"}` → value, labels sorted."""
    text = metrics.exposition()[0].decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


@pytest.mark.parametrize("name", PINNED)
def test_names_kinds_and_labels_are_pinned(name: str) -> None:
    kind, labels = PINNED[name]
    for family in text_string_to_metric_families(moved().exposition()[0].decode()):
        for sample in family.samples:
            if sample.name == name:
                assert (family.type, set(sample.labels)) == (kind, labels)
                return
    pytest.fail(f"{name} is not there")


def test_no_metric_goes_without_being_pinned() -> None:
    shown = {name.partition("{")[0] for name in samples(moved())}
    shown = {re.sub("_(sum|bucket)$", "_count", name) for name in shown}
    ours = {name for name in shown if not name.startswith("process_")}
    assert ours == set(PINNED)
    assert "process_resident_memory_bytes" in shown


def test_what_happened_is_counted() -> None:
    found = samples(moved())
    expected = {
        'vpngate_build_info{version="1.2.3"}': 1,
        'vpngate_mode{mode="enforce"}': 1,
        'vpngate_mode{mode="observe"}': 0,
        "vpngate_enforced_share_ratio": 0.25,
        'vpngate_registry_prefixes{family="ipv4"}': 3,
        'vpngate_registry_expiring_prefixes{within="7d"}': 2,
        "vpngate_registry_serial": 42,
        "vpngate_registry_generated_timestamp_seconds": 999,
        "vpngate_registry_rows_rejected": 2,
        "vpngate_config_last_reload_successful": 1,
        "vpngate_config_last_reload_success_timestamp_seconds": 1000.5,
        "vpngate_registry_last_load_successful": 0,
        "vpngate_registry_last_load_success_timestamp_seconds": 1001,
        'vpngate_registry_loads_refused_total{reason="empty"}': 1,
        'vpngate_handshakes_total{evidence="confirmed",tunnel="wireguard"}': 1,
        'vpngate_flows_total{family="ipv6",tunnel="wireguard",verdict="throttle"}': 1,
        "vpngate_captured_packets_total": 5,
        'vpngate_capture_lost_packets_total{reason="enobufs"}': 2,
        'vpngate_capture_lost_packets_total{reason="limit"}': 6,
        'vpngate_verdict_latency_seconds_bucket{le="0.0025"}': 0,
        'vpngate_verdict_latency_seconds_bucket{le="0.005"}': 1,
        "vpngate_kernel_in_sync": 1,
        'vpngate_kernel_repairs_total{what="hook"}': 1,
        "vpngate_deadman_armed": 1,
        'vpngate_halts_total{reason="errors"}': 1,
        'vpngate_traffic_packets_total{direction="upload"}': 1000,
        'vpngate_traffic_bytes_total{direction="download"}': 2000,
        'vpngate_throttled_packets_total{direction="upload"}': 7,
        'vpngate_throttled_packets_total{direction="download"}': 0,
        'vpngate_throttled_bytes_total{direction="download"}': 100,
        'vpngate_throttle_dropped_packets_total{direction="download"}': 1,
        'vpngate_spared_packets_total{family="ipv4"}': 4,
        'vpngate_spared_packets_total{family="ipv6"}': 0,
        'vpngate_throttled_flows{family="ipv6",tunnel="wireguard"}': 1,
        'vpngate_throttled_flows{family="ipv6",tunnel="new"}': 4,
        'vpngate_throttled_flows{family="ipv4",tunnel="pptp"}': 0,
        "vpngate_throttled_subscribers": 8,
        'vpngate_registry_grace_prefixes{family="ipv4"}': 0,
        'vpngate_registry_grace_prefixes{family="ipv6"}': 6,
        'vpngate_registry_info{digest="0123456789abcdef"}': 1,
        'vpngate_registry_public_key_info{key_id="E7620F1842B4E81F"}': 1,
        "vpngate_registry_expires_timestamp_seconds": 2000,
        'vpngate_event_loop_lag_seconds_bucket{le="0.025"}': 0,
        'vpngate_event_loop_lag_seconds_bucket{le="0.05"}': 1,
        "vpngate_throttle_shared_buckets": 2,
        "vpngate_verdicts_refused_total": 3,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_counters_with_known_labels_are_there_from_the_start() -> None:
    metrics = Metrics("1", ["l2tp"], refusals=["empty"], repairs=["ifb"])
    found = samples(metrics)
    assert found['vpngate_registry_loads_refused_total{reason="empty"}'] == 0
    assert found['vpngate_registry_source_failures_total{reason="empty"}'] == 0
    assert found['vpngate_kernel_repairs_total{what="ifb"}'] == 0
    assert found['vpngate_handshakes_total{evidence="initiation",tunnel="l2tp"}'] == 0
    assert (
        found['vpngate_flows_total{family="ipv4",tunnel="l2tp",verdict="allow"}'] == 0
    )


def test_what_is_not_known_is_not_shown() -> None:
    metrics = Metrics("1", [])
    assert not any("registry_prefixes" in name for name in samples(metrics))
    assert not any("throttled_flows" in name for name in samples(metrics))
    metrics.registry_taken(RegistryFacts({Family.IPV4: 1}, 0), 1.0)
    found = samples(metrics)
    assert found['vpngate_registry_prefixes{family="ipv6"}'] == 0
    assert "vpngate_registry_serial" not in found


def test_later_facts_replace_earlier_ones() -> None:
    metrics = moved()
    metrics.registry_aged(RegistryFacts({Family.IPV4: 9}, 0, expiring={"24h": 5}))
    metrics.mode(Mode.OBSERVE, 0.25)
    metrics.config_refused()
    metrics.verdict_in_kernel(-1.0)
    found = samples(metrics)
    assert found['vpngate_registry_prefixes{family="ipv4"}'] == 9
    assert found['vpngate_registry_expiring_prefixes{within="24h"}'] == 5
    assert found["vpngate_enforced_share_ratio"] == 0, "observing enforces nothing"
    assert found['vpngate_mode{mode="enforce"}'] == 0
    assert found["vpngate_config_last_reload_successful"] == 0
    assert found['vpngate_verdict_latency_seconds_bucket{le="0.001"}'] == 1


def test_what_a_limit_holds_back_is_added_as_it_grows() -> None:
    metrics = Metrics("1", [])
    name = 'vpngate_capture_lost_packets_total{reason="limit"}'
    assert samples(metrics)[name] == 0
    for total in (4, 4, 9):
        metrics.kernel(Totals(copies_held_back=total))
        metrics.lost("gap", 1)
        assert samples(metrics)[name] == total


def test_each_has_a_registry_of_its_own() -> None:
    one, other = Metrics("1", []), Metrics("2", [])
    one.captured(3)
    assert samples(other)["vpngate_captured_packets_total"] == 0


def test_openmetrics_for_those_who_ask() -> None:
    body, kind = moved().exposition("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_no_label_holds_an_address() -> None:
    text = moved().exposition()[0].decode()
    values = re.findall(r'="([^"]*)"', text)
    assert values
    assert not [v for v in values if re.search(r"\d+\.\d+\.\d+\.\d+|::", v)]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_has_nothing_to_say_against_them() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=moved().exposition()[0],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=nonsense",
        "application/openmetrics-text; version=1.0.0.0.0",
        "application/openmetrics-text; version=\xb9.0.0",
        "application/openmetrics-text; version=999999999999999999999999.0.0",
        "application/openmetrics-text; version=" + "9" * 5000 + ".0.0",
        "application/openmetrics-text; version=1.0.0; escaping=nonsense",
        "application/openmetrics-text; version",
        "application/openmetrics-text;;;===",
        "text/plain; version=1.0.0; escaping=nonsense",
        "text/plain; version=-1.0.0",
        "text/plain; version=1",
        ",;,;" * 1000,
        "\xff",
    ],
)
def test_an_odd_accept_has_an_exposition(accept: str) -> None:
    body, content_type = Metrics("1.0", ["wireguard"]).exposition(accept)
    assert b"vpngate_build_info" in body
    assert content_type.isascii()
    assert content_type.isprintable()


def test_the_page_about_metrics_has_them_all_and_no_other() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(vpngate_\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE)
    told = {
        name: (kind, {label for label in labels.split(", ") if label})
        for name, kind, labels in rows
    }
    assert len(rows) == len(told)
    assert told == {
        name.removesuffix("_count"): pinned for name, pinned in PINNED.items()
    }
