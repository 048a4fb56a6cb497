# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of Prometheus about one gateway, and about a fleet.

Knows metrics and what people want to see of them; does not know how a screen is
written down (`grid.py`).
"""

from release.grid import Ask, Board, Panel

_ONE = 'job="$job", instance="$instance"'
_REGISTRY = "vpngate_registry_"


def _of(metric: str, legend: str = "", *, chosen: str = _ONE) -> Ask:
    return Ask(f"{metric}{{{chosen}}}", legend)


def _rate(metric: str, legend: str, factor: str = "") -> Ask:
    return Ask(f"{factor}rate({metric}{{{_ONE}}}[$__rate_interval])", legend)


def _in_an_hour(metric: str, by: str, legend: str) -> Ask:
    return Ask(f"sum by ({by}) (increase({metric}{{{_ONE}}}[1h]))", legend)


def _within(metric: str) -> tuple[Ask, Ask]:
    """How long it takes half of the times, and nearly always."""
    inner = f"sum by (le) (rate({metric}_bucket{{{_ONE}}}[$__rate_interval]))"
    return (
        Ask(f"histogram_quantile(0.5, {inner})", "half of them"),
        Ask(f"histogram_quantile(0.99, {inner})", "99 of 100"),
    )


def _yes(title: str, metric: str, text: str) -> Panel:
    return Panel(title, text, (_of(metric),), "yes")


def _number(title: str, text: str, expr: str, unit: str = "short") -> Panel:
    return Panel(title, text, (Ask(expr),), "number", unit)


def _name(title: str, text: str, ask: Ask) -> Panel:
    return Panel(title, text, (ask,), "name")


_STATE = (
    _yes("All is well", "vpngate_healthy", "As /healthz says."),
    _name("Mode", "Of the stance.", Ask(f"vpngate_mode{{{_ONE}}} == 1", "{{mode}}")),
    _number(
        "Share acted on",
        "Of the subscribers; none while it observes.",
        f"vpngate_enforced_share_ratio{{{_ONE}}}",
        "percentunit",
    ),
    _number(
        "Stance ends in",
        "0: it does not end by itself.",
        f"clamp_min(vpngate_stance_until_timestamp_seconds{{{_ONE}}} - time(), 0)",
        "s",
    ),
    _yes("Armed", "vpngate_deadman_armed", "Whether anybody may be slowed."),
    _yes("Kernel in sync", "vpngate_kernel_in_sync", "At the last look."),
    _yes(
        "Configuration taken",
        "vpngate_config_last_reload_successful",
        "Whether the one in its file is in force.",
    ),
    _name("Version", "That runs.", _of("vpngate_build_info", "{{version}}")),
)
_THE_REGISTRY = (
    _name(
        "Digest",
        "Of the addresses: the same on every gateway that has the same.",
        _of(f"{_REGISTRY}info", "{{digest}}"),
    ),
    _number("Serial", "Of the one in force.", f"{_REGISTRY}serial{{{_ONE}}}"),
    _yes(
        "Newest taken",
        f"{_REGISTRY}last_load_successful",
        "Whether the newest that a source has is in force.",
    ),
    _number(
        "Last seen at a source",
        "How long ago a source last had it, unchanged or new.",
        f"time() - {_REGISTRY}last_refresh_success_timestamp_seconds{{{_ONE}}}",
        "s",
    ),
    _number(
        "Expires in",
        "Below 0 it still spares everybody in it.",
        f"{_REGISTRY}expires_timestamp_seconds{{{_ONE}}} - time()",
        "s",
    ),
    _number(
        "Rows left out",
        "That cannot be read.",
        f"{_REGISTRY}rows_rejected{{{_ONE}}}",
    ),
    _name(
        "Keys that may sign",
        "Two while a publisher moves to another one.",
        _of(f"{_REGISTRY}public_key_info", "{{key_id}}"),
    ),
)
_OVER_TIME = (
    Panel(
        "Prefixes",
        "Registered; and those that stand for their grace alone.",
        (
            _of(f"{_REGISTRY}prefixes", "{{family}}"),
            _of(f"{_REGISTRY}grace_prefixes", "{{family}}, in grace"),
        ),
    ),
    Panel(
        "Prefixes that end soon",
        "Within a day, within seven.",
        (_of(f"{_REGISTRY}expiring_prefixes", "within {{within}}"),),
    ),
    Panel(
        "Refused, and sources passed over, in an hour",
        "Each reason is explained in docs/fleet.md.",
        (
            _in_an_hour(f"{_REGISTRY}loads_refused_total", "reason", "{{reason}}"),
            _in_an_hour(
                f"{_REGISTRY}source_failures_total",
                "reason",
                "passed over: {{reason}}",
            ),
        ),
    ),
)
_TRAFFIC = (
    Panel(
        "All that passes",
        "At the hooks.",
        (_rate("vpngate_traffic_bytes_total", "{{direction}}", "8 * "),),
        unit="bps",
    ),
    Panel(
        "Slowed",
        "What has left the slower class.",
        (_rate("vpngate_throttled_bytes_total", "{{direction}}", "8 * "),),
        unit="bps",
    ),
    Panel(
        "Packets",
        "Dropped: those that the slower class had no room for.",
        (
            _rate("vpngate_traffic_packets_total", "all, {{direction}}"),
            _rate("vpngate_throttled_packets_total", "slowed, {{direction}}"),
            _rate("vpngate_throttle_dropped_packets_total", "dropped, {{direction}}"),
        ),
        unit="pps",
    ),
)
_TUNNELS = (
    Panel(
        "Flows slowed now",
        "By tunnel.",
        (Ask(f"sum by (tunnel) (vpngate_throttled_flows{{{_ONE}}})", "{{tunnel}}"),),
    ),
    Panel(
        "Subscribers slowed now",
        "Some share a bucket where classes run out.",
        (
            _of("vpngate_throttled_subscribers", "slowed"),
            _of("vpngate_throttle_shared_buckets", "share another's bucket"),
        ),
    ),
    Panel(
        "Flows in an hour",
        "none: stayed unconfirmed until forgotten.",
        (
            _in_an_hour(
                "vpngate_flows_total", "tunnel, verdict", "{{tunnel}}: {{verdict}}"
            ),
        ),
    ),
    Panel(
        "Handshakes in an hour",
        "By the evidence that they were.",
        (
            _in_an_hour(
                "vpngate_handshakes_total",
                "tunnel, evidence",
                "{{tunnel}}: {{evidence}}",
            ),
        ),
    ),
    Panel(
        "Second readings in an hour",
        "What the two readers do not agree on is left alone.",
        (_in_an_hour("vpngate_second_reading_total", "outcome", "{{outcome}}"),),
    ),
    Panel(
        "From a packet to its verdict",
        "Until the kernel has it.",
        _within("vpngate_verdict_latency_seconds"),
        unit="s",
    ),
)
_COPIES = (
    Panel(
        "Copies seen",
        "That recognition has looked at.",
        (_rate("vpngate_captured_packets_total", "seen"),),
        unit="pps",
    ),
    Panel(
        "Copies missed in an hour",
        "limit: held back on purpose. And would-be handshakes that came in where"
        " their source does not live.",
        (
            _in_an_hour("vpngate_capture_lost_packets_total", "reason", "{{reason}}"),
            _in_an_hour(
                "vpngate_reverse_path_failed_packets_total", "job", "wrong way in"
            ),
        ),
    ),
    Panel(
        "Interfaces",
        "Of those left alone vpngate status says why.",
        (_of("vpngate_interfaces", "{{state}}"),),
    ),
)
_GUARANTEES = (
    Panel(
        "Spared in an hour",
        "Packets with a verdict whose end is registered: they are not slowed.",
        (
            _in_an_hour("vpngate_spared_packets_total", "family", "{{family}}"),
            _in_an_hour(
                "vpngate_witness_packets_total", "family", "{{family}}: must be none"
            ),
        ),
    ),
    Panel(
        "Halts in an hour",
        "Enforcing stopped of itself.",
        (_in_an_hour("vpngate_halts_total", "reason", "{{reason}}"),),
    ),
    Panel(
        "Put right, and refused, in an hour",
        "What somebody else had changed in the kernel; verdicts beyond max_flows.",
        (
            _in_an_hour("vpngate_kernel_repairs_total", "what", "{{what}}"),
            _in_an_hour("vpngate_verdicts_refused_total", "job", "verdicts refused"),
        ),
    ),
)
_DAEMON = (
    Panel(
        "How late its event loop is",
        "What is urgent has 100 ms.",
        _within("vpngate_event_loop_lag_seconds"),
        unit="s",
    ),
    Panel(
        "Processor",
        "Of one core.",
        (_rate("process_cpu_seconds_total", "busy"),),
        unit="percentunit",
    ),
    Panel(
        "Memory",
        "Resident.",
        (_of("process_resident_memory_bytes", "resident"),),
        unit="bytes",
    ),
)

GATEWAY = Board(
    "vpngate",
    "vpngate: a gateway",
    "What one gateway does, to whom it does it (in numbers), and whether it should.",
    {
        "State": _STATE,
        "Registry": _THE_REGISTRY,
        "Registry over time": _OVER_TIME,
        "Traffic": _TRAFFIC,
        "Tunnels": _TUNNELS,
        "Copies": _COPIES,
        "What is promised": _GUARANTEES,
        "The daemon": _DAEMON,
    },
    {
        "job": "label_values(vpngate_build_info, job)",
        "instance": 'label_values(vpngate_build_info{job="$job"}, instance)',
    },
)
