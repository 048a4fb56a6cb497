# SPDX-License-Identifier: GPL-2.0-or-later
"""What several commands share: options spelled once, results printed one way.

Knows the options' names and defaults, and stdout; does not read what the options
name, and does not know the results.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from typing import Any

from vpngate.plaintext import plain

_LONGEST_LINE = 4000  # characters
# What changes the stance comes behind a registry that is on its way to the kernel.
PATIENCE = 60.0  # seconds
CONFIG_PATH = "/etc/vpngate/vpngate.toml"


def add_config(parser: argparse._ActionsContainer) -> None:
    """`--config FILE`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=CONFIG_PATH,
        help="configuration (default: %(default)s)",
    )


def add_socket(parser: argparse.ArgumentParser) -> None:
    """`--socket PATH`."""
    from vpngate.daemon.outside.client import DEFAULT_PATH

    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=DEFAULT_PATH,
        help="control socket of the daemon (default: %(default)s)",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """`--format table|json`."""
    parser.add_argument(
        "--format",
        choices=("table", "json"),
        default="table",
        help="for people or for programs (default: %(default)s)",
    )


def show(form: str, result: Any, lines: Callable[[], Iterable[str]]) -> None:
    """Print `result` as one line of JSON, or the `lines` that people read.

    What names an interface, a rule of somebody's, a file, is text from outside.
    """
    if form == "json":
        print(json.dumps(result))
        return
    for line in lines():
        print(plain(line, _LONGEST_LINE))


def positive(text: str) -> int:
    """A number of captures, for argparse; its error for anything else."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of captures")
    return number
