# SPDX-License-Identifier: GPL-2.0-or-later
"""From single messages to the evidence of a flow: both directions, paired.

Knows who spoke first and what was answered, for a bounded time; does not know any
protocol, nor what a verdict is.
"""

from vpngate.flows.flow_table import MAX_BYTES, FlowTable, sighting_of

__all__ = ["MAX_BYTES", "FlowTable", "sighting_of"]
