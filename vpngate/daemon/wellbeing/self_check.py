# SPDX-License-Identifier: GPL-2.0-or-later
"""What the self-check asks of the daemon: what is registered, and what is slowed.

Knows whom to ask, and that nobody is slowed while nothing is acted on; does not know
who asks: that only an address itself learns what is slowed is up to the page
(`vpngate/public/check_page.py`). Nothing of a question is kept.
"""

from collections.abc import Callable, Sequence

from netaddr import IPNetwork

from vpngate.daemon.in_force import InForce
from vpngate.kernel.plane import DataPlane
from vpngate.packets import Endpoint
from vpngate.policy import network_of
from vpngate.prefixes.intervals import Intervals
from vpngate.public.address_standing import AddressStanding, standing_of
from vpngate.public.question import Question
from vpngate.snapshot import Snapshot
from vpngate.timekeeping.moments import When


class SelfCheck:
    """Asks the snapshot in force, and the data plane.

    `armed` tells whether anybody may be slowed, `spared_by` whom a snapshot's registry
    spares.
    """

    def __init__(
        self,
        in_force: InForce,
        plane: DataPlane,
        clock: Callable[[], When],
        spared_by: Callable[[Snapshot], Intervals],
        armed: Callable[[], bool],
    ) -> None:
        self._in_force = in_force
        self._plane = plane
        self._clock = clock
        self._spared_by = spared_by
        self._armed = armed

    def trusted(self) -> Sequence[IPNetwork]:
        """The proxies of the configuration in force; from any thread."""
        return self._in_force.snapshot.config.http.trusted_proxies

    def standing(self, question: Question) -> AddressStanding:
        """Whether a range is registered or protected; from any thread."""
        snapshot = self._in_force.snapshot
        return standing_of(question, snapshot, self._clock(), self._spared_by)

    async def slowed(self, address: bytes) -> bool:
        """Whether a flow of this subscriber's address is slowed, as far as is known."""
        snapshot = self._in_force.snapshot
        if not (snapshot.enforcing and self._armed()):
            return False
        length = snapshot.subscriber_prefix[Endpoint(address, 0).family]
        return await self._plane.slows(address, network_of(address, length))
