# SPDX-License-Identifier: GPL-2.0-or-later
"""What a later run has to know beside the registry itself, as bytes.

Knows the form: a line of JSON, then whatever the registry remembers of those who have
left. Does not know where it is kept, nor what a clock or a departed one is.
"""

import json
from dataclasses import dataclass

_LAST_MOMENT = 10**12  # seconds since 1970
_MOST_ASKED = 10**6
_TAB = "\t"  # no JSON of ours has one


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered.

    clock      the clock's own line
    departed   of whoever has left the registry
    succeeded  when a source last had the registry, in seconds since 1970; None if an
               earlier version did not remember it
    unasked    refreshes since the whole registry was asked for
    """

    clock: str
    departed: bytes
    succeeded: float | None = None
    unasked: int = 0

    def dump(self) -> bytes:
        """The bytes; the inverse of `read_memory`."""
        refreshes = json.dumps([self.succeeded, self.unasked])
        return f"{self.clock}{_TAB}{refreshes}\n".encode() + self.departed


def read_memory(content: bytes) -> Memory:
    """What was remembered; ValueError on damage."""
    line, _, departed = content.partition(b"\n")
    clock, tab, refreshes = line.decode().partition(_TAB)
    if not tab:
        return Memory(clock, departed)
    try:
        succeeded, unasked = json.loads(refreshes)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not what was remembered: {error!r}") from None
    known = succeeded is None or type(succeeded) in (int, float)
    if not known or type(unasked) is not int:
        raise ValueError("not what was remembered: no moment and no count")
    if not (0 <= (succeeded or 0) <= _LAST_MOMENT and 0 <= unasked <= _MOST_ASKED):
        raise ValueError("not what was remembered: there is no such moment")
    return Memory(clock, departed, succeeded, unasked)
