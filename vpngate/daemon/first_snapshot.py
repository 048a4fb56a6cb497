# SPDX-License-Identifier: GPL-2.0-or-later
"""What a start acts on: what it reads, finds, is brought, and what a run before kept.

Knows what has to be put together; does not know how any of it is had.
"""

from pathlib import Path

from vpngate.attachment.machine import Machine
from vpngate.config import Config
from vpngate.daemon.kept.kept_stance import KeptStance
from vpngate.daemon.kept.share_key import share_key
from vpngate.daemon.threads import in_thread
from vpngate.daemon.wall_clock import read_machine
from vpngate.snapshot import Snapshot, enabled_tunnels
from vpngate.stance import Configured
from vpngate.supply.keeper import Delivery


async def first_snapshot(
    config: Config, machine: Machine, delivery: Delivery
) -> tuple[Snapshot, KeptStance]:
    """The first snapshot, and where its stance is kept.

    InvalidConfig if the share key that is named is no use.
    """
    key = await in_thread(share_key, config)
    registry, stances = delivery.registry, KeptStance(Path(config.registry.state))
    said = Configured(config.gateway.mode, config.gateway.enforce_share)
    stance = await in_thread(stances.begin, said, registry.suspend, read_machine())
    tunnels = enabled_tunnels(config)
    return Snapshot(config, tunnels, registry, machine, stance, key), stances
