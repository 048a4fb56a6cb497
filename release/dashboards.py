# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes config/grafana/*.json anew. Run by `make dashboards`."""

from release.fleet_board import FLEET
from release.gateway_board import GATEWAY
from release.grid import written
from release.pins import ROOT

FOLDER = ROOT / "config" / "grafana"
FILES = {"vpngate.json": GATEWAY, "fleet.json": FLEET}


def main() -> None:
    """Write them."""
    for name, board in FILES.items():
        (FOLDER / name).write_text(written(board))


if __name__ == "__main__":
    main()
