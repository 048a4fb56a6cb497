# SPDX-License-Identifier: GPL-2.0-or-later
"""A last good registry on disk, as a daemon leaves it."""

from pathlib import Path

from vpngate.feed import LastGood, Store, Validators


def keep(config: Path, text: bytes, memory: bytes = b"") -> Path:
    """Have a daemon's state hold a last good registry."""
    state = config.parent / "state"
    Store(state).save(LastGood(text, None, Validators(), memory))
    return state
