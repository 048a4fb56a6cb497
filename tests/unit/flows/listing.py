# SPDX-License-Identifier: GPL-2.0-or-later
"""Every flow of a table as it stands: the product asks about one at a time."""

from collections.abc import Iterator

from vpngate.flows import FlowTable
from vpngate.flows.flow_table import sighting_of
from vpngate.recognition import Sighting


def sightings(table: FlowTable) -> Iterator[Sighting]:
    """The table must not change meanwhile."""
    for tunnels in table._flows.values():
        for tunnel, flows in tunnels.items():
            for key, flow in flows.items():
                yield sighting_of(tunnel, key, flow, repeated=True)
