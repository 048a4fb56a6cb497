# SPDX-License-Identifier: GPL-2.0-or-later
"""What the self-check asks of the daemon: what is registered, and what is slowed.

Knows whom to ask, and that nobody is slowed while nothing is acted on; does not know
who asks: that only an address itself learns what is slowed is up to the page
(`vpngate/public/check_page.py`). Nothing of a question is kept.
"""

import time
from collections.abc import Callable, Sequence
from weakref import ref

from netaddr import IPNetwork

from vpngate.daemon.in_force import InForce
from vpngate.kernel.plane import DataPlane
from vpngate.packets import Endpoint
from vpngate.policy import network_of
from vpngate.prefixes.intervals import Intervals
from vpngate.public.address_standing import AddressStanding, standing_of
from vpngate.public.question import AddressRange
from vpngate.registry import Registry
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When

_GOOD_FOR = 30.0  # seconds


class SelfCheck:
    """Asks the snapshot in force, and the data plane.

    `armed` tells whether anybody may be slowed, `spared_by` whom a snapshot's registry
    spares, where the kernel has been told.
    """

    def __init__(
        self,
        in_force: InForce,
        plane: DataPlane,
        clock: Callable[[], When],
        spared_by: Callable[[Snapshot], Intervals | None],
        armed: Callable[[], bool],
    ) -> None:
        self._in_force = in_force
        self._plane = plane
        self._clock = clock
        self._spared_by = spared_by
        self._armed = armed
        # Of which registry, and when; no registry may outlive its time.
        self._merged: tuple[ref[Registry], float, Intervals] | None = None

    def trusted(self) -> Sequence[IPNetwork]:
        """The proxies of the configuration in force; from any thread."""
        return self._in_force.snapshot.config.http.trusted_proxies

    def is_own(self, address: bytes) -> bool:
        """Whether an address is the gateway's own; from any thread."""
        return address in self._in_force.snapshot.machine.addresses

    def standing(self, question: AddressRange) -> AddressStanding:
        """Whether a range is registered or protected; from any thread."""
        snapshot = self._in_force.snapshot
        return standing_of(question, snapshot, self._clock(), self._spared)

    def _spared(self, snapshot: Snapshot) -> Intervals:
        """Whom the registry spares; a little while ago, where it had to be merged.

        Else a stranger's question about a prefix would cost a second, each time.
        """
        held = self._spared_by(snapshot)
        if held is not None:
            return held
        registry, now, known = snapshot.registry, time.monotonic(), self._merged
        if known is None or known[0]() is not registry or now > known[1] + _GOOD_FOR:
            spared = registry.covered(self._clock())
            self._merged = known = ref(registry), time.monotonic(), spared
        return known[2]

    async def slowed(self, address: bytes) -> bool:
        """Whether a flow of this subscriber's address is slowed, as far as is known."""
        snapshot = self._in_force.snapshot
        if not (snapshot.enforcing and self._armed()):
            return False
        length = snapshot.subscriber_prefix[Endpoint(address, 0).family]
        return await self._plane.slows(address, network_of(address, length))
