# SPDX-License-Identifier: GPL-2.0-or-later
"""What vpngate counts, as Prometheus sees it.

Knows the name, kind and labels of every metric; does not know where the numbers
come from, or HTTP. No label holds an address, a prefix or a registration. Each
`Metrics` has a registry of its own, and may be called from any thread.
"""

from vpngate.metrics.instruments import Metrics
from vpngate.metrics.latest import KernelTotals, RegistryFacts

__all__ = ["KernelTotals", "Metrics", "RegistryFacts"]
