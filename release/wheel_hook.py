# SPDX-License-Identifier: GPL-2.0-or-later
"""Has a wheel carry manual pages and completions, where `make manual` has made them.

They are made by vpngate itself, which cannot run while it is built; `make wheel` makes
them first.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface[Any]):
    """What hatchling asks before it writes a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - its interface
        """Add dist/manual/share, as share/ of where the wheel is installed."""
        share = Path(self.root, "dist", "manual", "share")
        if share.is_dir():
            build_data["shared_data"][str(share)] = "share"
