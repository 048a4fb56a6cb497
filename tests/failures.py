# SPDX-License-Identifier: GPL-2.0-or-later
"""What failed, in few lines: the end of a long run is all that some people see.

Knows pytest's reports; does not know which run they come from.
"""

from collections.abc import Iterable, Iterator

import pytest

_MESSAGE_LINES = 3


def told(reports: Iterable[object]) -> Iterator[str]:
    """For each failed test its name, where it failed and the assertion's first lines.

    `reports` are those of tests, or of files that could not be collected.
    """
    for report in reports:
        if not isinstance(report, pytest.TestReport | pytest.CollectReport):
            continue
        during = f" ({report.when})" if report.when in ("setup", "teardown") else ""
        yield f"{report.nodeid}{during}"
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is None:
            lines = str(report.longrepr).strip().splitlines()[-_MESSAGE_LINES:]
        else:
            lines = [f"{crash.path}:{crash.lineno}"]
            lines += str(crash.message).splitlines()[:_MESSAGE_LINES]
        yield from (f"    {line}" for line in lines)
