# SPDX-License-Identifier: GPL-2.0-or-later
"""When to ask the sources again.

Knows that gateways that were started together must not all ask at once, and that a
source that fails is asked less often; does not know the time, nor what a fetch does.
"""

from random import Random

# A fleet's requests spread over a fifth of the refresh time.
_JITTER = 0.1
_FIRST_RETRY = 30.0  # seconds after the first fetch that failed; doubles with each


def next_fetch(refresh: float, failures: int, random: Random) -> float:
    """Seconds until the next fetch.

    refresh   seconds between fetches that succeed
    failures  how many fetches in a row have failed, 0 after a success

    After failures sooner than `refresh`, and again at its pace once they persist.
    """
    if not failures:
        return refresh * random.uniform(1 - _JITTER, 1 + _JITTER)
    # The exponent is bounded: a float has no room for a month of failures.
    retry = min(refresh, _FIRST_RETRY * 2.0 ** min(failures - 1, 32))
    return retry * random.uniform(0.5, 1.0)
