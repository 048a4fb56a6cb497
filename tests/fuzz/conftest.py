# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a fuzz test goes on: a slice by default, `make fuzz` takes its time."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "long",
    max_examples=20_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
