# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shipped dashboards ask, as Grafana would ask it.

Knows how a question stands in a dashboard, and what is chosen above it; does not know
what a panel is about.
"""

import json
from typing import Any

from tests.house import ROOT

FILES = ("vpngate.json", "fleet.json")
_RATES_OVER = "4s"  # what Grafana makes of a scrape a second


def panels(name: str) -> list[dict[str, Any]]:
    """All that ask."""
    whole = json.loads((ROOT / "config" / "grafana" / name).read_text())
    return [panel for panel in whole["panels"] if panel["type"] != "row"]


def asked(expr: str, instance: str = "") -> str:
    """A question, of a gateway that is chosen."""
    chosen = expr.replace("$job", "vpngate").replace("$instance", instance)
    return chosen.replace("$__rate_interval", _RATES_OVER)


def only(name: str, title: str) -> str:
    """The one question of a panel about the fleet."""
    (panel,) = (panel for panel in panels(name) if panel["title"] == title)
    (target,) = panel["targets"]
    return asked(target["expr"])
