# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of Prometheus about a fleet: who holds what, and who stands apart.

Knows metrics and what people want to see of many gateways at a time; does not know how
a screen is written down (`grid.py`).
"""

from release.grid import Ask, Board, Panel

_JOB = 'job="$job"'
_REGISTRY = "vpngate_registry_"
_HELD = f"{_REGISTRY}info{{{_JOB}}}"
_NEWEST = f"max by (job) ({_REGISTRY}serial{{{_JOB}}})"
# The digest that most have.
_MOST = f"topk by (job) (1, count by (job, digest) ({_HELD}))"


def _last(metric: str, legend: str) -> Ask:
    return Ask(f"sum by (instance) ({metric}{{{_JOB}}})", legend)


def _since(metric: str) -> str:
    return f"time() - {_REGISTRY}{metric}_timestamp_seconds{{{_JOB}}}"


def _number(title: str, text: str, expr: str) -> Panel:
    return Panel(title, text, (Ask(expr),), "number")


_AT_A_GLANCE = (
    _number("Gateways", "That Prometheus asks.", f"count(up{{{_JOB}}})"),
    _number("They answer", "So many of them.", f"sum(up{{{_JOB}}})"),
    _number("All is well", "On so many.", f"sum(vpngate_healthy{{{_JOB}}})"),
    _number(
        "Registries in force",
        "Different ones: 1 where the fleet is one.",
        f"count(count by (digest) ({_HELD}))",
    ),
    _number(
        "Versions",
        "That run.",
        f"count(count by (version) (vpngate_build_info{{{_JOB}}}))",
    ),
    _number("Enforcing", "So many.", f'sum(vpngate_mode{{{_JOB}, mode="enforce"}})'),
    _number(
        "Slowed now",
        "Subscribers, of all gateways.",
        f"sum(vpngate_throttled_subscribers{{{_JOB}}})",
    ),
    _number(
        "Alerts",
        "That fire.",
        f'count(ALERTS{{alertstate="firing", {_JOB}}}) or on () vector(0)',
    ),
)
_SIDE_BY_SIDE = (
    Panel(
        "Gateways side by side",
        "Digests that differ: the fleet has come apart.",
        (
            Ask(f"max by (instance, digest) ({_HELD})", "registry"),
            Ask(f"max by (instance, version) (vpngate_build_info{{{_JOB}}})", "build"),
            Ask(
                f"max by (instance, mode) (vpngate_mode{{{_JOB}}} == 1)", "in this mode"
            ),
            _last(f"{_REGISTRY}serial", "serial"),
            _last("vpngate_enforced_share_ratio", "share"),
            _last("vpngate_healthy", "well"),
            Ask(
                f"sum by (instance) ({_since('last_refresh_success')})", "refreshed (s)"
            ),
        ),
        "table",
    ),
)
_THE_REGISTRY = (
    Panel(
        "Who holds another registry than most",
        "By the digest. Nobody, most of the time.",
        (Ask(f"{_HELD} unless on (job, digest) {_MOST}", "{{instance}}: {{digest}}"),),
    ),
    Panel(
        "Serials behind the newest",
        "By gateway.",
        (
            Ask(
                f"{_NEWEST} - on (job) group_right () {_REGISTRY}serial{{{_JOB}}}",
                "{{instance}}",
            ),
        ),
    ),
    Panel(
        "Gateways by registry",
        "How many hold which.",
        (Ask(f"count by (digest) ({_HELD})", "{{digest}}"),),
    ),
    Panel(
        "Last seen at a source",
        "How long ago, by gateway.",
        (Ask(_since("last_refresh_success"), "{{instance}}"),),
        unit="s",
    ),
    Panel(
        "Registries refused in an hour",
        "By gateway and reason.",
        (
            Ask(
                "sum by (instance, reason)"
                f" (increase({_REGISTRY}loads_refused_total{{{_JOB}}}[1h])) > 0"
                " or on () vector(0)",
                "{{instance}}: {{reason}}",
            ),
        ),
    ),
    Panel(
        "Gateways by key that may sign",
        "All have to trust a new key before it signs alone.",
        (
            Ask(
                f"count by (key_id) ({_REGISTRY}public_key_info{{{_JOB}}})",
                "{{key_id}}",
            ),
        ),
    ),
)
_STANCES = (
    Panel(
        "Gateways by mode",
        "Of their stance.",
        (Ask(f"sum by (mode) (vpngate_mode{{{_JOB}}})", "{{mode}}"),),
    ),
    Panel(
        "Share acted on",
        "By gateway: in one ECMP group it has to be the same.",
        (Ask(f"vpngate_enforced_share_ratio{{{_JOB}}}", "{{instance}}"),),
        unit="percentunit",
    ),
    Panel(
        "Gateways by version",
        "Two during an upgrade.",
        (Ask(f"count by (version) (vpngate_build_info{{{_JOB}}})", "{{version}}"),),
    ),
)
_TRAFFIC = (
    Panel(
        "All that passes",
        "By gateway.",
        (
            Ask(
                "8 * sum by (instance)"
                f" (rate(vpngate_traffic_bytes_total{{{_JOB}}}[$__rate_interval]))",
                "{{instance}}",
            ),
        ),
        unit="bps",
    ),
    Panel(
        "Slowed",
        "By gateway.",
        (
            Ask(
                "8 * sum by (instance)"
                f" (rate(vpngate_throttled_bytes_total{{{_JOB}}}[$__rate_interval]))",
                "{{instance}}",
            ),
        ),
        unit="bps",
    ),
    Panel(
        "Flows slowed now",
        "By gateway.",
        (_last("vpngate_throttled_flows", "{{instance}}"),),
    ),
)

FLEET = Board(
    "vpngate-fleet",
    "vpngate: the fleet",
    "Many gateways, one registry: do all hold the same, and do the same?",
    {
        "At a glance": _AT_A_GLANCE,
        "Side by side": _SIDE_BY_SIDE,
        "Registry": _THE_REGISTRY,
        "Stances and versions": _STANCES,
        "Traffic": _TRAFFIC,
    },
    {"job": "label_values(vpngate_build_info, job)"},
)
