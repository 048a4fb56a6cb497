# SPDX-License-Identifier: GPL-2.0-or-later
"""The system call bpf(2), and every number of it (linux/bpf.h), each once.

Knows how its attributes are laid out and what its errors mean; does not know any
program. Every descriptor that it returns is closed on exec by the kernel.

All is in the machine's own order of bytes, which has to be the little-endian one.
"""

import ctypes
import errno
import os
import platform
import struct
from enum import IntEnum
from typing import Any, TypeAlias

from numpy.typing import NDArray

from vpngate.errors import (
    KernelRefused,
    MissingFeature,
    MissingPrivilege,
    Problem,
)

_NUMBERS = {"x86_64": 321, "aarch64": 280}  # of the system call, by machine
# Longer than what any kernel knows is fine, as long as the rest is zero.
_ATTRIBUTES = 160
NAME = 16  # BPF_OBJ_NAME_LEN, with the zero that ends it

Octets: TypeAlias = bytes | bytearray | NDArray[Any]


class Command(IntEnum):
    """What is asked for (enum bpf_cmd)."""

    MAP_CREATE = 0
    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    MAP_NEXT_KEY = 4
    PROGRAM_LOAD = 5
    PROGRAM_ATTACH = 8
    PROGRAM_DETACH = 9
    PROGRAM_TEST_RUN = 10
    OBJECT_INFO = 15
    PROGRAM_QUERY = 16
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_UPDATE = 29


class MapKind(IntEnum):
    """How a map keeps its elements (enum bpf_map_type)."""

    HASH = 1
    ARRAY = 2
    PROGRAM_ARRAY = 3
    PER_CPU_HASH = 5
    PER_CPU_ARRAY = 6
    LRU_HASH = 9
    LONGEST_PREFIX = 11
    ARRAY_OF_MAPS = 12
    RING = 27


class MapFlag(IntEnum):
    """How a map is made (BPF_F_*)."""

    NOTHING_AHEAD = 1  # elements get their memory when they come
    MAPPED = 1 << 10  # an array whose values may be mapped into a process


class ProgramKind(IntEnum):
    """Where a program may run (enum bpf_prog_type)."""

    CLASSIFIER = 3  # traffic control, at either hook


class AttachPoint(IntEnum):
    """A hook of an interface for links (enum bpf_attach_type; Linux 6.6)."""

    TCX_INGRESS = 46
    TCX_EGRESS = 47


class Helper(IntEnum):
    """What the kernel does for a program (enum bpf_func_id; all in Linux 6.1)."""

    MAP_LOOKUP = 1
    MAP_UPDATE = 2
    MAP_DELETE = 3
    NOW = 5  # nanoseconds of CLOCK_MONOTONIC
    STORE_BYTES = 9
    TAIL_CALL = 12
    REDIRECT = 23
    LOAD_BYTES = 26  # of the packet, also where it is not in one piece
    CHANGE_TYPE = 32
    FLOW_HASH = 34  # the kernel's own number of the flow, made where there is none
    PULL_DATA = 39
    FORGET_FLOW_HASH = 41
    CHANGE_HEAD = 43
    IPSEC_STATE = 66  # of those that let a packet in
    FIB_LOOKUP = 69
    BOOT_NOW = 125  # nanoseconds of CLOCK_BOOTTIME
    RING_OUTPUT = 130
    RING_RESERVE = 131
    RING_SUBMIT = 132
    RING_DISCARD = 133
    SET_TIMESTAMP = 192


class UpdateFlag(IntEnum):
    """Which elements an update may touch."""

    ANY = 0
    ABSENT = 1
    PRESENT = 2


class BpfRefused(KernelRefused):
    """The kernel's no to a call of bpf(2); `number` is its errno."""

    def __init__(self, wish: str, number: int, detail: str = "") -> None:
        self.number = number
        reason = os.strerror(number)
        told = f"{reason} ({detail})" if detail else reason
        super().__init__(Problem("eBPF", f"cannot {wish}: {told}"))


class CallAttributes:
    """What a call is told, packed as `layout` says (struct, no padding), zero behind.

    The kernel writes its answers over some of them.
    """

    def __init__(self, layout: str, *fields: int | bytes) -> None:
        packed = struct.pack(f"={layout}", *fields)
        self.buffer = ctypes.create_string_buffer(packed, _ATTRIBUTES)

    def word(self, at: int) -> int:
        """The 32-bit field at that offset, as it is now."""
        (value,) = struct.unpack_from("=I", self.buffer, at)
        return int(value)


def call(command: Command, attributes: CallAttributes, wish: str) -> int:
    """What the kernel returns, a descriptor as a rule; `wish` names the task.

    Raises MissingPrivilege, MissingFeature where the kernel has no such call, or
    BpfRefused. Interrupted calls are repeated.
    """
    while True:
        number = attempt(command, attributes)
        if number >= 0:
            return number
        match -number:
            case errno.EINTR | errno.EAGAIN:
                continue
            case errno.EPERM:
                raise privilege_missing(wish)
            case errno.ENOSYS:
                raise MissingFeature(Problem("eBPF", "the kernel has no bpf(2)"))
        raise BpfRefused(wish, -number)


def attempt(command: Command, attributes: CallAttributes) -> int:
    """The same, but errors are returned, as negative errnos."""
    result = _syscall()(_number(), command, attributes.buffer, _ATTRIBUTES)
    return int(result) if result >= 0 else -ctypes.get_errno()


def address(data: Octets | None) -> int:
    """Where a buffer's bytes are; the caller keeps it alive. 0 for None.

    What the kernel writes into has to be writable: a bytearray, an array of numpy.
    """
    if data is None:
        return 0
    if isinstance(data, bytes):
        pointer = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        return pointer or 0
    if isinstance(data, bytearray):
        return ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data))
    return int(data.ctypes.data)


def name_of(text: str) -> bytes:
    """A name for the kernel's lists: what it takes of it."""
    return text.encode()[: NAME - 1]


def privilege_missing(wish: str) -> MissingPrivilege:
    """The error of who lacks a capability."""
    return MissingPrivilege(
        Problem(
            "eBPF",
            f"may not {wish}",
            "run it as root or give it CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON",
        )
    )


def _number() -> int:
    try:
        return _NUMBERS[platform.machine()]
    except KeyError as unknown:
        told = f"is not spoken to on {platform.machine()}"
        raise MissingFeature(Problem("eBPF", told)) from unknown


def _syscall() -> Any:
    return _LIBRARY.syscall


_LIBRARY = ctypes.CDLL(None, use_errno=True)
