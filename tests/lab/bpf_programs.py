# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs made of the plane's own instructions that say which signature a packet is.

Knows how to put them together and how to ask them about a frame, in the running
kernel and with no interface.
"""

import contextlib
from collections.abc import Iterator, Sequence

from vpngate.kernel.bpf import programs
from vpngate.kernel.bpf.assembly import R0, R1, R6, R8, Assembly
from vpngate.kernel.bpf.code.finding import find, found
from vpngate.kernel.bpf.code.recognising import Exits, recognise
from vpngate.packets import Family
from vpngate.signatures import Signature

ETHERNET = 14
NOTHING = -1
_IP_HEADERS = {b"\x08\x00": 20, b"\x86\xdd": 40}
_LONGEST = 3500


def recogniser(signatures: Sequence[Signature], link_header: int = ETHERNET) -> bytes:
    """A program that returns the number of what a packet is, or NOTHING."""
    code = Assembly().set(R6, R1)
    find(code, link_header, "nothing")
    for family in Family:
        code.label(found(family))
    recognise(code, signatures, Exits("candidate", "nothing"))
    code.label("candidate").set(R0, R8).exit()
    return code.label("nothing").exit(NOTHING).assembled()


@contextlib.contextmanager
def loaded(signatures: Sequence[Signature]) -> Iterator[int]:
    """The descriptor of such a program."""
    program = programs.load(recogniser(signatures), "recogniser")
    try:
        yield program
    finally:
        programs.close(program)


def can_be_tried(frame: bytes) -> bool:
    """Whether the kernel runs a program over a frame that is in no queue.

    It wants the whole IP header, and no more than a page.
    """
    header = _IP_HEADERS.get(frame[12:ETHERNET], 1)
    return ETHERNET + header <= len(frame) <= _LONGEST


def which(program: int, frame: bytes) -> int:
    """The number of what a frame is, or NOTHING."""
    return programs.try_out(program, frame).returned
