# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration from text, and what is wrong with one."""

import base64

import pytest

from vpngate.config import (
    Config,
    parse_config,
)
from vpngate.errors import InvalidConfig
from vpngate.tunnels import all_tunnels

TUNNELS = tuple(tunnel.name for tunnel in all_tunnels())

KEY = base64.b64encode(b"Ed" + bytes(40)).decode()
LEAST = '[gateway]\ninterfaces = ["lan0"]\n'


def parse(text: str) -> Config:
    return parse_config(text, where="f.toml", known_tunnels=TUNNELS)


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        parse(text)
    return [line.removeprefix("f.toml: ") for line in caught.value.lines]


def problem(section: str, key: str, value: str) -> str:
    """The one problem with a value of a key, in an otherwise sound file."""
    text = LEAST if section == "gateway" else LEAST + f"[{section}]\n"
    if key == "interfaces":
        text = "[gateway]\n"
    (line,) = problems(f"{text}{key} = {value}\n")
    where, _, what = line.partition(": ")
    assert where.startswith(f"{section}.{key}")
    return what
