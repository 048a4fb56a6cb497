# SPDX-License-Identifier: GPL-2.0-or-later
"""What a line of the log is about, by a name that does not change.

Knows names, fields and places in the code; does not know how a line looks, nor which
there are: docs/logs.md has them in one table.
"""

from vpngate.log_events.line_events import event_of, named, place_of

__all__ = ["event_of", "named", "place_of"]
