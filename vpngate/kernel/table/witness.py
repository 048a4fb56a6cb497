# SPDX-License-Identifier: GPL-2.0-or-later
"""The chains at the ifbs that look for whom should not be there.

Knows at which ifbs they stand, and reads what they have seen; does not know what makes
a witness (`ruleset/witnessing.py`), nor what becomes of one. One thread alone may use
it.
"""

from contextlib import suppress

from vpngate.errors import MachineFault
from vpngate.kernel.table.owned import OwnedTable
from vpngate.kernel.wire import messages
from vpngate.packets import Family
from vpngate.ruleset import names, witnessing


class Witness:
    """The witness of one table."""

    def __init__(self, table: OwnedTable) -> None:
        self._table = table
        self._at: set[int] = set()  # numbers of ifbs

    def begin(self) -> None:
        """Make what packets at any ifb are asked; MissingFeature if it cannot be."""
        chains = [*witnessing.watching_chains()]
        self._table.introduce(messages.new_chains(self._table.name, chains))

    def stand_at(self, number: int, ifb: str, major: int) -> None:
        """Look at what is sent to an ifb that has just been made.

        A chain may have outlived the last one of that name (Linux does so since 6.16).
        """
        chain = witnessing.base_chain(number, ifb, major)
        table = self._table
        table.commit(
            [
                messages.new_chain(table.name, chain),
                messages.delete_rules(table.name, chain.name),
                *messages.rules(table.name, chain),
            ]
        )
        self._at.add(number)

    def stands_at(self, number: int) -> bool:
        """Whether it does: nobody else can take it out of a table that is owned."""
        return number in self._at

    def leave(self, number: int) -> None:
        """Before an ifb goes; its chain, or the whole table, may have gone already."""
        if number not in self._at:
            return
        self._at.discard(number)
        name = names.witness_base(number)
        with suppress(MachineFault, OSError):
            self._table.commit(
                [
                    messages.delete_rules(self._table.name, name),
                    messages.delete_chain(self._table.name, name),
                ]
            )

    def waiting(self) -> list[tuple[bytes, bytes]]:
        """Source and destination of a few packets of the last seconds."""
        return [
            (key[: family.width], key[family.width :])
            for family in Family
            for key in self._table.keys(names.waiting_set(family))
        ]
