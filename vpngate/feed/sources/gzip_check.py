# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a gzip that was published unpacks within its bounds.

Knows the reasons for which a source is passed over; does not know gzip
(`vpngate/expansion.py`), nor what is inside. Asked only once a signature, where there
has to be one, holds. Raises FeedFault.
"""

from vpngate.expansion import MAGIC, GzipBounds, NotExpanded, TooLarge, expand
from vpngate.feed.faults import Reason, fault
from vpngate.feed.sources.deadline import Deadline


def check_expansion(data: bytes, max_bytes: int, where: str, end: Deadline) -> None:
    """FeedFault if `data` is a gzip that is damaged or too large; keeps nothing.

    max_bytes   of content
    end         by when it has to be unpacked; looked at all the time
    """
    if not data.startswith(MAGIC):
        return
    try:
        for _ in expand(data, GzipBounds(max_bytes), lambda: end.check(where)):
            pass
    except NotExpanded as error:
        large = isinstance(error, TooLarge)
        reason = Reason.TOO_LARGE if large else Reason.TRUNCATED
        remedy = "see whether it is a registry" if large else "publish it anew"
        raise fault(reason, where, str(error), remedy) from None
