# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ways in which programs stand at interfaces, for tests to run over each.

Knows which of them this kernel has: filters every one, links those from 6.6 on.
"""

from collections.abc import Mapping

import pytest

from tests.planes import BY_FILTERS, PLANE
from vpngate.config import Plane
from vpngate.errors import MissingPrivilege
from vpngate.kernel.programmed.attachments.attachment import Attaching, Attachment
from vpngate.kernel.programmed.attachments.by_filters import ByFilters
from vpngate.kernel.programmed.attachments.by_links import ByLinks
from vpngate.kernel.programmed.attachments.chosen import chosen, has_links
from vpngate.kernel.wire.channel import Channel

ATTACHINGS: Mapping[str, Attaching] = {
    "links": lambda _channel, _table: ByLinks(),
    "filters": ByFilters,
}


def by_filters() -> bool:
    """Whether a daemon of this run has its programs stand by filters."""
    return PLANE is Plane.EBPF and (BY_FILTERS or not has_links())


def as_asked(channel: Channel, table: str) -> Attachment:
    """As a daemon of this run has it."""
    return ByFilters(channel, table) if BY_FILTERS else chosen(channel, table)


def _there() -> list[str]:
    """Where the kernel may not be asked, live tests are left out for that."""
    try:
        return [one for one in ATTACHINGS if one != "links" or has_links()]
    except MissingPrivilege:
        return list(ATTACHINGS)


# Of a test that takes the name of one.
over_each = pytest.mark.parametrize("attaching", _there())
