# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration for the doctor to judge by."""

from vpngate.config import Config, parse_config


def config(text: str = "", gateway: str = 'interfaces = ["lan0"]') -> Config:
    """The defaults, but for the lines of [gateway] and whatever `text` adds."""
    return parse_config(
        f"[gateway]\n{gateway}\n{text}",
        where="test",
        known_tunnels=["wireguard", "ipsec"],
    )
