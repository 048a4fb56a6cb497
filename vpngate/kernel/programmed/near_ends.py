# SPDX-License-Identifier: GPL-2.0-or-later
"""The program at the pairs' near ends that looks for whom should not be there.

Knows at which of them it stands, and reads what it has noted; does not know what makes
a witness (`bpf/code/stages.py`). See `table/witness.py` for its twin. One thread alone
may use it.
"""

import socket
import struct
import time

from vpngate.kernel.bpf.plane_maps import (
    CLAIM_AT,
    ENDS_AT,
    WAITING_RECORDS,
    waiting_at,
)
from vpngate.kernel.programmed.attachments.attachment import Attachment, Standing
from vpngate.kernel.programmed.programmed_table import ProgrammedTable
from vpngate.packets import Family, HookPoint

_REMEMBERED = 3 * 10**9  # nanoseconds


class NearEnds:
    """The witness of one plane."""

    def __init__(self, table: ProgrammedTable, attachment: Attachment) -> None:
        self._table = table
        self._attachment = attachment
        self._indexes: dict[int, int] = {}  # of near ends, by the number of a pair

    def stand_at(self, number: int, device: str, major: int) -> None:  # noqa: ARG002
        """Look at what is sent to a pair that has just been made."""
        self.leave(number)
        index = self._indexes[number] = socket.if_nametoindex(device)
        self._attachment.stand_at(index, self._those)

    def stands_at(self, number: int) -> bool:
        """Whether our program does; somebody may have detached it."""
        index = self._indexes.get(number)
        return index is not None and self._attachment.stands_at(index, self._those)

    def leave(self, number: int) -> None:
        """Before a pair goes, or when what has its name is somebody else's."""
        index = self._indexes.pop(number, None)
        if index is not None:
            self._attachment.forget(index)

    def close(self) -> None:
        """Leave all."""
        for number in list(self._indexes):
            self.leave(number)

    @property
    def _those(self) -> Standing:
        return {HookPoint.EGRESS: self._table.near_end}

    def waiting(self) -> list[tuple[bytes, bytes]]:
        """Source and destination of a few packets of the last seconds."""
        with self._table.maps.waiting.mapped(writable=False) as memory:
            whole = memory[:]
        now = time.monotonic_ns()
        found = []
        for family in Family:
            for record in range(WAITING_RECORDS):
                at = waiting_at(family, record)
                claim, same, when = struct.unpack_from("=QQQ", whole, at + CLAIM_AT)
                if claim and claim == same and now - when < _REMEMBERED:
                    ends = whole[at + ENDS_AT : at + ENDS_AT + 2 * family.width]
                    found.append((ends[: family.width], ends[family.width :]))
        return found
