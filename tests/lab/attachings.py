# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ways in which programs stand at interfaces, for tests to run over each.

Knows which of them this kernel has: filters every one, links those from 6.6 on.
"""

from collections.abc import Mapping

import pytest

from tests.planes import has_links
from vpngate.kernel.programmed.attachments.attachment import Attaching
from vpngate.kernel.programmed.attachments.by_filters import ByFilters
from vpngate.kernel.programmed.attachments.by_links import ByLinks

ATTACHINGS: Mapping[str, Attaching] = {
    "links": lambda _channel, _table: ByLinks(),
    "filters": ByFilters,
}
_THERE = [one for one in ATTACHINGS if one != "links" or has_links()]
# Of a test that takes the name of one.
over_each = pytest.mark.parametrize("attaching", _THERE)
