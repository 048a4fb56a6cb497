# SPDX-License-Identifier: GPL-2.0-or-later
"""Many tunnels at once, as the bench has them: each complete handshake has its verdict.

How soon is the bench's business; here it only has to come.
"""

from bench.gate import gate
from tests.lab.namespaces import PATIENCE


def test_every_handshake_within_the_limits_has_its_verdict() -> None:
    with gate() as at:
        seen = at.handshakes(100, 2, 50, still=PATIENCE)
        assert seen.no_room == 0
        assert len(seen.latencies) == seen.sent == 200
        assert seen.latencies.min() > 0
        assert seen.used > 0
