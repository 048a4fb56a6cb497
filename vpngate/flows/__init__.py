# SPDX-License-Identifier: GPL-2.0-or-later
"""From single messages to the evidence of a flow: both directions, paired."""

from vpngate.flows.table import MAX_BYTES, FlowTable

__all__ = ["MAX_BYTES", "FlowTable"]
