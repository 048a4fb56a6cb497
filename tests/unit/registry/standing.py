# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether one registration stands: the registry itself is asked about addresses."""

from vpngate.registry import Registration


def stands_at(registration: Registration, now: float) -> bool:
    """At a moment in seconds since the epoch, grace included."""
    begin, end = registration.valid_from, registration.stands_until
    return (begin is None or begin <= now) and (end is None or end > now)
