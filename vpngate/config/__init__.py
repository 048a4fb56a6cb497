# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration: TOML text → one frozen value, or every problem in it.

Knows vpngate.toml, its keys, bounds, contradictions, and which keys may change
while the daemon runs; does not know files, the clock, or what the keys do.
"""

from vpngate.config.changes import Changes, Reload, changes, with_less, without_more
from vpngate.config.for_strangers import own_words, without_names
from vpngate.config.parsing import Examined, examine_config, parse_config, table_of
from vpngate.config.rules import objections
from vpngate.config.sections import (
    CaptureSource,
    Config,
    Confirm,
    HaltSection,
    LogFormat,
    LogLevel,
    Mode,
    Plane,
    ReversePath,
    Side,
)
from vpngate.config.values import Listen

DEFAULT_PATH = "/etc/vpngate/vpngate.toml"

__all__ = [
    "DEFAULT_PATH",
    "CaptureSource",
    "Changes",
    "Config",
    "Confirm",
    "Examined",
    "HaltSection",
    "Listen",
    "LogFormat",
    "LogLevel",
    "Mode",
    "Plane",
    "Reload",
    "ReversePath",
    "Side",
    "changes",
    "examine_config",
    "objections",
    "own_words",
    "parse_config",
    "table_of",
    "with_less",
    "without_more",
    "without_names",
]
