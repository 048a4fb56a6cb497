# SPDX-License-Identifier: GPL-2.0-or-later
"""Two registries to be kept, and what a state folder holds.

Knows no store; the tests beside this file do.
"""

from pathlib import Path

from vpngate.feed import LastGood, Validators
from vpngate.feed.answer import Condition

GOOD = LastGood(
    data=b"prefix,registration\n192.0.2.0/24,R-1\n",
    signature=None,
    validators=Validators(
        "https://registry.example/r.csv",
        "00" * 32,
        "",
        0,
        Condition('"é\\"', "Tue, 14 Nov 2023 22:13:20 GMT"),
    ),
    memory=b'{"clock": 1700000000}',
)
NEXT = LastGood(b"prefix,registration\n", None, Validators(), b"{}")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
