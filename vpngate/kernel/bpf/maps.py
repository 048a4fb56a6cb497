# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps: what programs and the daemon share.

Knows how a map is made, filled, read and mapped into memory; does not know what is
in any of them.
"""

import errno
import mmap
import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vpngate.kernel.bpf.syscall import (
    NAME,
    BpfRefused,
    CallAttributes,
    Command,
    MapFlag,
    MapKind,
    Octets,
    UpdateFlag,
    address,
    attempt,
    call,
    name_of,
)

_MAP_CREATE = f"IIIIIII{NAME}s"
_ELEMENT, _BATCH = "IIQQQ", "QQQQIIQQ"
_COUNT_AT = 32  # of a batch: how many it was, and how many were done
_NOT_THERE = frozenset({errno.ENOENT, errno.ENXIO})
_POSSIBLE = Path("/sys/devices/system/cpu/possible")


class MapLayout(NamedTuple):
    """What a map is like.

    key, value  bytes of each
    entries     how many there are at most; of a ring, its bytes
    flags       of `MapFlag`
    """

    kind: MapKind
    key: int
    value: int
    entries: int
    flags: int = 0


class Map:
    """One map of the kernel's, for as long as its descriptor is open or it is in use.

    `inner` is like those that an array of maps is to hold.
    """

    descriptor: int

    def __init__(
        self, name: str, layout: MapLayout, inner: "Map | None" = None
    ) -> None:
        self.name, self.layout = name, layout
        like = inner.descriptor if inner is not None else 0
        fields = (*layout, like, 0, name_of(name))
        attributes = CallAttributes(_MAP_CREATE, *fields)
        self.descriptor = call(Command.MAP_CREATE, attributes, f"make the map {name}")

    def close(self) -> None:
        """Let go of it: it ends with its last user. Again: nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def put(self, key: Octets, value: Octets, flag: int = UpdateFlag.ANY) -> None:
        """Set one element."""
        attributes = self._element(key, value, flag)
        call(Command.MAP_UPDATE, attributes, f"write into the map {self.name}")

    def get(self, key: Octets, size: int = 0) -> bytes | None:
        """One element's value, None where there is none.

        `size` is how much the kernel gives where that is more than the value: each
        processor's, rounded to eight bytes.
        """
        found = bytearray(size or self.layout.value)
        attributes = self._element(key, found)
        number = attempt(Command.MAP_LOOKUP, attributes)
        if number >= 0:
            return bytes(found)
        if -number in _NOT_THERE:
            return None
        raise BpfRefused(f"read the map {self.name}", -number)

    def first(self) -> bytes | None:
        """The key of any one element, None where there is none."""
        found = bytearray(self.layout.key)
        attributes = self._element(None, found)
        number = attempt(Command.MAP_NEXT_KEY, attributes)
        if number >= 0:
            return bytes(found)
        if -number in _NOT_THERE:
            return None
        raise BpfRefused(f"list the map {self.name}", -number)

    def remove(self, key: Octets) -> bool:
        """Take one element out; whether it was there."""
        number = attempt(Command.MAP_DELETE, self._element(key, None))
        if number < 0 and -number not in _NOT_THERE:
            raise BpfRefused(f"take something out of the map {self.name}", -number)
        return number >= 0

    def put_all(self, keys: Octets, values: Octets, count: int) -> int:
        """Set many elements, packed one behind the other; how many were.

        Fewer than `count` where the map is full.
        """
        full = frozenset({errno.E2BIG, errno.ENOMEM, errno.ENOSPC})
        return self._batch(Command.MAP_UPDATE_BATCH, keys, values, count, full)

    def remove_all(self, keys: Octets, count: int) -> None:
        """Take many elements out; those that are not there are passed over."""
        size = self.layout.key
        packed = bytes(keys) if isinstance(keys, (bytes, bytearray)) else keys.tobytes()
        while count:
            done = self._batch(
                Command.MAP_DELETE_BATCH, packed, None, count, _NOT_THERE
            )
            if done == count:
                return
            packed, count = packed[(done + 1) * size :], count - done - 1

    def items(self, at_once: int = 4096) -> Iterator[tuple[bytes, bytes, int]]:
        """All elements of a hash, in portions: keys, values, and how many.

        What comes and goes meanwhile may be among them, or not.
        """
        token = bytearray(8)
        after: bytearray | None = None
        key, value = self.layout.key, self.layout.value
        while True:
            keys, values = bytearray(at_once * key), bytearray(at_once * value)
            fields = (*map(address, (after, token, keys, values)), at_once)
            attributes = CallAttributes(_BATCH, *fields, self.descriptor, 0, 0)
            number = attempt(Command.MAP_LOOKUP_BATCH, attributes)
            if number == -errno.ENOSPC:  # one bucket holds more
                at_once *= 2
                continue
            if number < 0 and number != -errno.ENOENT:
                raise BpfRefused(f"list the map {self.name}", -number)
            count = attributes.word(_COUNT_AT)
            yield bytes(keys[: count * key]), bytes(values[: count * value]), count
            if number < 0:  # that was the last of it
                return
            after = bytearray(token)

    def mapped(self, size: int = 0, at: int = 0, *, writable: bool = True) -> mmap.mmap:
        """Its memory in this process: of an array made with MapFlag.MAPPED, of a ring.

        The map lives as long as it is mapped.
        """
        if self.descriptor < 0:  # which would be memory of nobody's, and empty
            raise BpfRefused(f"map the map {self.name} into memory", errno.EBADF)
        whole = -(-self.layout.value // 8) * 8 * self.layout.entries
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        try:
            return mmap.mmap(
                self.descriptor, size or whole, mmap.MAP_SHARED, protection, offset=at
            )
        except OSError as error:
            wish = f"map the map {self.name} into memory"
            raise BpfRefused(wish, error.errno or errno.EINVAL) from error

    def _element(
        self, key: Octets | None, value: Octets | None, flag: int = UpdateFlag.ANY
    ) -> CallAttributes:
        # What the addresses are of is held by whoever calls.
        pointers = address(key), address(value)
        return CallAttributes(_ELEMENT, self.descriptor, 0, *pointers, flag)

    def _batch(
        self,
        command: Command,
        keys: Octets,
        values: Octets | None,
        count: int,
        ends: frozenset[int],
    ) -> int:
        """How many were done; fewer than `count` where one of the errnos ended it."""
        if not count:
            return 0
        fields = (0, 0, address(keys), address(values), count, self.descriptor, 0, 0)
        attributes = CallAttributes(_BATCH, *fields)
        number = attempt(command, attributes)
        if number < 0 and -number not in ends:
            raise BpfRefused(f"change the map {self.name}", -number)
        return attributes.word(_COUNT_AT)


def index(number: int) -> bytes:
    """The key of an array's element."""
    return struct.pack("=I", number)


@cache
def processors() -> int:
    """How many there may be, each with its own part of a map's value.

    That never changes, and is not to fail where descriptors are short.
    """
    return count_of(_POSSIBLE.read_text("ascii"))


def count_of(listed: str) -> int:
    """How many are in the kernel's list of some, `0,2-3` say."""
    ends = (part.partition("-") for part in listed.strip().split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)


def mapped_array(name: str, size: int, entries: int = 1) -> Map:
    """An array that the daemon may map into its memory."""
    return Map(name, MapLayout(MapKind.ARRAY, 4, size, entries, MapFlag.MAPPED))
