# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of the test run, how it is dealt out to workers, what it tells in the end."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests import failures, house, streams

# The same examples each time: a test that fails one day in thirty tells nobody what
# their change broke. New ones are looked for by `make fuzz`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="labelled captures to classify and score: captures/, score.py, ...",
    )
    parser.addoption(
        "--peers",
        type=Path,
        metavar="DIR",
        help="the same of peers in many settings; scored by the score.py of --corpus",
    )


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Producer
) -> streams.StreamScheduling:
    return streams.StreamScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    for item in items:
        # Others cover the same, and being covered takes two and a half times as long.
        if item.get_closest_marker("slow") or not house.is_covered(item.path):
            item.add_marker("no_cover")
    if hasattr(config, "workerinput"):  # one of several workers
        items[:] = streams.longest_first(items)


def pytest_collection_finish(session: pytest.Session) -> None:  # noqa: ARG001
    """Ten thousand tests are garbage to nobody: no collector goes through them."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add what failed to the file VPNGATE_FAILED, for who runs pytest several times."""
    file = os.environ.get("VPNGATE_FAILED")
    if file:
        stats = terminalreporter.stats
        with Path(file).open("a") as page:
            reports = [*stats.get("failed", ()), *stats.get("error", ())]
            page.writelines(f"{line}\n" for line in failures.told(reports))
