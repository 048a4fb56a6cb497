# SPDX-License-Identifier: GPL-2.0-or-later
"""The key that chooses the share of the subscribers that is acted on.

Knows where it is: in a file that the operator names, for a whole fleet, or made once
and kept in the state folder. Never tells it. Blocking.
"""

import logging
import secrets
from pathlib import Path

from vpngate.config import Config
from vpngate.errors import FeedFault
from vpngate.feed.state.statefolder import StateFolder
from vpngate.log_events import named
from vpngate.supply.fleet_key import SIZE, read_fleet_key

NAME = "share-key"
_WHAT = "the share key"

_log = logging.getLogger(__name__)


def share_key(config: Config) -> bytes:
    """The key that a configuration means.

    InvalidConfig, of one line, where it names a file that is of no use.
    """
    if config.gateway.share_key:
        return read_fleet_key(config.gateway.share_key)
    return _own(Path(config.registry.state))


def _own(folder: Path) -> bytes:
    """The one in the state folder; made if there is none, or none that is sound."""
    key = secrets.token_bytes(SIZE)
    try:
        with StateFolder.of_one_file(folder, _WHAT) as kept:
            content = kept.read(NAME, SIZE)
        if content is not None and len(content) == SIZE:
            return content
        if content is not None:
            _log.warning(
                "%s: is damaged; another is made",
                folder / NAME,
                extra=named("share_key_damaged"),
            )
        with StateFolder.of_one_file(folder, _WHAT, make=True) as kept:
            kept.replace(NAME, key)
    except FeedFault as fault:
        _log.warning(
            "%s; the next start chooses other subscribers",
            fault,
            extra=named("share_key_not_kept"),
        )
    return key
