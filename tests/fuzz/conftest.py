# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a fuzz test goes on: a slice by default, as long as `make fuzz` says."""

import os

from hypothesis import HealthCheck, Phase, settings

_UNHURRIED = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# The slice that `make test` runs holds what is known, the same each time; looking for
# what is not is the campaign's work.
settings.register_profile("slice", _UNHURRIED, max_examples=100, derandomize=True)
settings.register_profile(
    "round",
    _UNHURRIED,
    max_examples=int(os.environ.get("VPNGATE_FUZZ_EXAMPLES", "100")),
)
# What failed before, and nothing new.
settings.register_profile(
    "replay", _UNHURRIED, phases=(Phase.explicit, Phase.reuse, Phase.shrink)
)
settings.load_profile("slice")
