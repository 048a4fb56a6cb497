# SPDX-License-Identifier: GPL-2.0-or-later
"""Moments as people read them.

Knows the calendar; does not know what happened then.
"""

from datetime import UTC, datetime


def moment(seconds: float) -> str:
    """Date and time in UTC; the seconds themselves where no calendar has them."""
    try:
        seen = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
    return f"{seen:%Y-%m-%d %H:%M:%S}.{seen.microsecond // 1000:03}"
