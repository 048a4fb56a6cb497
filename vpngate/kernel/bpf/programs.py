# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs: loaded, attached to an interface's hooks, and tried on a packet.

Knows how the verifier is asked and what it says; does not know what a program does,
nor how its instructions are put together (`assembly.py`).
"""

import errno
import os
import struct
from pathlib import Path
from typing import NamedTuple

from vpngate.kernel.bpf.syscall import (
    NAME,
    AttachPoint,
    BpfRefused,
    CallAttributes,
    Command,
    ProgramKind,
    address,
    attempt,
    call,
    name_of,
    privilege_missing,
)

_INSTRUCTION = 8  # bytes
_LOAD = f"IIQQIIQII{NAME}sII"
_LICENCE = b"GPL\0"
_LOG, _LOG_LEVEL = 1 << 24, 1
_TEST, _TOOK_AT, _RETURNED_AT = "IIIIQQIIIIQQ", 36, 4
_CONTEXT = 192  # bytes of struct __sk_buff, as far as a test may be told
# Where they stand in it: skb->priority, ingress_ifindex, ifindex
_PRIORITY_AT, _CAME_BY_AT, _INTERFACE_AT = 32, 36, 40
_INFO = 256
_ID_AT = 4  # of struct bpf_prog_info and bpf_map_info, behind the kind
_IDS = 64  # programs of one hook that are asked for
_PERFMON, _SYS_ADMIN = 38, 21  # linux/capability.h


class Unverified(BpfRefused):
    """The verifier's no to a program: its last words, and in `log` all of them."""

    def __init__(self, name: str, number: int, log: str) -> None:
        self.log = log
        told = [line for line in log.splitlines() if line.strip()]
        # Behind its complaint it counts what it has looked at.
        said = [line for line in told if not line.startswith("processed ")]
        super().__init__(f"load the program {name}", number, (said or [""])[-1])


class Trial(NamedTuple):
    """What became of a packet, how long one run took, and its priority then."""

    returned: int
    nanoseconds: int
    priority: int


def load(
    instructions: bytes, name: str, kind: ProgramKind = ProgramKind.CLASSIFIER
) -> int:
    """The descriptor of a program that the verifier took; Unverified where not."""
    # The log is asked for after a failure only: one that does not fit is another.
    attributes = _to_load(instructions, name, kind, None)
    number = attempt(Command.PROGRAM_LOAD, attributes)
    while -number in (errno.EAGAIN, errno.EINTR):
        number = attempt(Command.PROGRAM_LOAD, attributes)
    if number >= 0:
        return number
    wish = f"load the program {name}"
    if -number == errno.EPERM:
        return call(Command.PROGRAM_LOAD, attributes, wish)  # says what is missing
    if not _is_trusted():  # whatever the verifier says, it would not of root's
        raise privilege_missing(wish)
    log = bytearray(_LOG)
    again = attempt(Command.PROGRAM_LOAD, _to_load(instructions, name, kind, log))
    if again >= 0:
        return again
    raise Unverified(name, -number, log.split(b"\0", 1)[0].decode(errors="replace"))


def link(program: int, interface: int, point: AttachPoint) -> int:
    """Attach it for as long as the descriptor that is returned is open."""
    attributes = CallAttributes("IIIIIIQ", program, interface, point, 0, 0, 0, 0)
    return call(Command.LINK_CREATE, attributes, "attach a program by a link")


def exchange(attachment: int, program: int) -> None:
    """Have another program stand where a link's does, from one packet to the next."""
    attributes = CallAttributes("IIII", attachment, program, 0, 0)
    call(Command.LINK_UPDATE, attributes, "exchange a program")


def attached(interface: int, point: AttachPoint) -> list[int]:
    """The ids of the programs at a hook for links, in their order.

    BpfRefused where the kernel has no such hooks.
    """
    ids = bytearray(4 * _IDS)
    attributes = CallAttributes("IIIIQI", interface, point, 0, 0, address(ids), _IDS)
    call(Command.PROGRAM_QUERY, attributes, "ask which programs are attached")
    count = attributes.word(24)
    return list(struct.unpack_from(f"={count}I", ids))


def id_of(descriptor: int) -> int:
    """The number by which the kernel lists a program or a map."""
    info = bytearray(_INFO)
    attributes = CallAttributes("IIQ", descriptor, len(info), address(info))
    call(Command.OBJECT_INFO, attributes, "ask for a program's number")
    (number,) = struct.unpack_from("=I", info, _ID_AT)
    return int(number)


def try_out(
    program: int,
    frame: bytes,
    *,
    repeat: int = 1,
    interface: int = 0,
    priority: int = 0,
) -> Trial:
    """Run a classifier over a frame that goes nowhere.

    `interface` is the one it is at, of this namespace; 0 for loopback. BpfRefused for
    frames that the kernel does not try, such as shorter ones than an Ethernet header.
    """
    context = bytearray(_CONTEXT)
    for at, value in ((_INTERFACE_AT, interface), (_PRIORITY_AT, priority)):
        struct.pack_into("=I", context, at, value)
    size = len(frame)
    fields = (program, 0, size, 0, address(frame), 0, repeat, 0, *2 * (len(context),))
    attributes = CallAttributes(_TEST, *fields, *2 * (address(context),))
    call(Command.PROGRAM_TEST_RUN, attributes, "try a program")
    returned, took = attributes.word(_RETURNED_AT), attributes.word(_TOOK_AT)
    (left,) = struct.unpack_from("=I", context, _PRIORITY_AT)
    return Trial(returned - ((returned & 1 << 31) << 1), took, left)


def close(descriptor: int) -> None:
    """Let go of a program or a link."""
    os.close(descriptor)


def _to_load(
    instructions: bytes, name: str, kind: ProgramKind, log: bytearray | None
) -> CallAttributes:
    count = len(instructions) // _INSTRUCTION
    code, licence = address(instructions), address(_LICENCE)
    level, size = (_LOG_LEVEL, len(log)) if log is not None else (0, 0)
    told = (level, size, address(log))
    return CallAttributes(
        _LOAD, kind, count, code, licence, *told, 0, 0, name_of(name), 0, 0
    )


def _is_trusted() -> bool:
    """Whether the verifier takes what it would take from root."""
    lines = Path("/proc/thread-self/status").read_text("ascii").splitlines()
    told = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return any(int(told, 16) >> one & 1 for one in (_PERFMON, _SYS_ADMIN))
