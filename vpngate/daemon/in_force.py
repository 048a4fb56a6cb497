# SPDX-License-Identifier: GPL-2.0-or-later
"""What is acted on at this moment, for whoever decides, shows or counts by it.

Knows the snapshot in force and the pipeline that decides by it; does not know how it
comes into force (`applying/`).
"""

from collections.abc import Callable

from netaddr import IPNetwork

from vpngate.daemon.traffic.pipeline import Pipeline
from vpngate.snapshot import Snapshot


class InForce:
    """The snapshot in force; only what applies changes may adopt another.

    told             is called once another is
    spared_networks  of subscribers, whom the registry spares as a whole
    """

    def __init__(self, snapshot: Snapshot, pipeline: Pipeline) -> None:
        self.snapshot = snapshot
        self.told: Callable[[], None] = lambda: None
        self.spared_networks: list[IPNetwork] = []
        self._pipeline = pipeline

    def adopt(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on."""
        if snapshot is not self.snapshot:
            self.snapshot = snapshot
            self._pipeline.adopt(snapshot)
            self.told()
