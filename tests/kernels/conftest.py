# SPDX-License-Identifier: GPL-2.0-or-later
"""These tests are for the kernels that `make kernels` boots, and for no other.

There, what failed is told at once: a run takes long, and may not come to its end.
"""

import os

import pytest

_GUEST = "VPNGATE_GUEST" in os.environ
collect_ignore_glob = [] if _GUEST else ["test_*.py"]


class _AtOnce:
    """Writes the traceback of each test as it fails."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\n{report.nodeid}\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    if _GUEST:
        config.pluginmanager.register(_AtOnce(config))
