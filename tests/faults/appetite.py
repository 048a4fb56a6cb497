# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile registry costs: time, memory, and how soon it can be put down.

    python -m tests.faults.appetite NAME [CANCEL]

Knows a table of inputs that a few kilobytes of gzip, or as many megabytes as are
taken, unfold to; reads one of them in this process, so that the peak is its own.
Prints one line of JSON. With CANCEL the work is put down after so many seconds.
"""

import gzip
import json
import random
import resource
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator

from vpngate.errors import VpngateError
from vpngate.registry import Limits, load

MIB = 2**20
HEADER = b"prefix,registration\n"
UNSIGNED = 128 * 10**6  # bytes that a source may deliver


def packed(*parts: tuple[bytes, int]) -> bytes:
    """A gzip of each content, so many times over."""
    packer = zlib.compressobj(9, wbits=31)
    made = [packer.compress(content) for content, times in parts for _ in range(times)]
    return b"".join(made) + packer.flush()


def lean(head: bytes, filler: bytes, times: int) -> bytes:
    """The same within the ratio that is taken: some noise with each mebibyte."""
    noise = random.Random(7).randbytes(MIB // 64).hex().encode()
    return packed((head, 1), *([(filler, 1), (b"\n#" + noise + b"\n", 1)] * times))


def sheet(count: int) -> Iterator[bytes]:
    """Rows that have everything: another date, a name of 64 characters, IPv6."""
    yield b"prefix,registration,tunnels,valid_from,valid_until\n"
    for n in range(count):
        yield b"2001:db8:%x:%x::/64,%064d,,,2%03d-01-01T%02d:%02d:%02dZ\n" % (
            *(n >> 16, n & 0xFFFF, n, n // 86400),
            *(n // 3600 % 24, n // 60 % 60, n % 60),
        )


def rows(count: int) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(map(packer.compress, sheet(count))) + packer.flush()


def item(inside: bytes) -> bytes:
    return b'{"registrations":[' + inside + b"]}"


INPUTS: dict[str, Callable[[], bytes]] = {
    "one line": lambda: packed((HEADER, 1), (b"a" * MIB, 500)),
    "one line, unpacked": lambda: HEADER + b"a" * (UNSIGNED - 100),
    "one comment": lambda: packed((HEADER, 1), (b"#" * MIB, 500)),
    "one comment, unpacked": lambda: HEADER + b"#" * (UNSIGNED - 100),
    "blanks": lambda: packed((HEADER, 1), (b" " * MIB, 500)),
    "empty lines": lambda: packed((HEADER, 1), (b"\n" * MIB, 500)),
    "empty lines, unpacked": lambda: HEADER + b"\n" * (UNSIGNED - 100),
    "commas": lambda: packed((HEADER, 1), (b"," * MIB, 500)),
    "commas, unpacked": lambda: HEADER + b"," * (UNSIGNED - 100),
    "quotes, unpacked": lambda: HEADER + b'"' * (UNSIGNED - 100),
    "bad rows, unpacked": lambda: HEADER + b"x,y\n" * (UNSIGNED // 4 - 100),
    "lines of a mebibyte": lambda: lean(HEADER, b"a" * MIB, 480),
    "comments of a mebibyte": lambda: lean(HEADER, b"#" * MIB, 480),
    "empty members": lambda: gzip.compress(b"", mtime=0) * 1_000_000,
    "padding": lambda: gzip.compress(HEADER, mtime=0) + bytes(UNSIGNED - 100),
    "one text": lambda: packed((b'{"registry":"', 1), (b"a" * MIB, 500)),
    "one text, unpacked": lambda: b'{"registry":"' + b"a" * (UNSIGNED - 100),
    "one number": lambda: packed((b'{"serial":', 1), (b"1" * MIB, 500)),
    "one number, unpacked": lambda: b'{"serial":' + b"1" * (UNSIGNED - 100),
    "one list, unpacked": lambda: b'{"sentinels":[0' + b",0" * (UNSIGNED // 2 - 100),
    "lists in lists": lambda: b'{"sentinels":' + b"[" * (UNSIGNED - 100),
    "objects, unpacked": lambda: item(b"{}" + b",{}" * (UNSIGNED // 3 - 100)),
    "keys": lambda: b'{"a":1' + b',"a":1' * (UNSIGNED // 6 - 100) + b"}",
    "keys of one row": lambda: item(b'{"a":1' + b',"a":1' * (MIB // 7) + b"}"),
    "spaces": lambda: b"{" + b" " * (UNSIGNED - 100),
    "the largest registry": lambda: rows(2_000_000),
}


def measure(name: str, cancel: float | None) -> dict[str, object]:
    """What came of it, seconds, MB at the peak; and from cancel to end, of CPU."""
    data = INPUTS[name]()
    cancelled: list[float] = []

    def look() -> None:
        if cancelled:
            raise TimeoutError("put down")

    if cancel is not None:
        timer = threading.Timer(cancel, lambda: cancelled.append(time.process_time()))
        timer.daemon = True
        timer.start()
    begin = time.monotonic()
    try:
        loaded = load(data, limits=Limits(), now=0.0, look=look)
        outcome = f"{len(loaded.registry)} registrations"
    except VpngateError as error:
        outcome = error.lines[0]
    except TimeoutError as error:
        outcome = str(error)
    end, used = time.monotonic(), time.process_time()
    return {
        "outcome": outcome,
        "seconds": end - begin,
        "reaction": used - cancelled[0] if cancelled else None,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes": len(data),
    }


if __name__ == "__main__":
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else None
    print(json.dumps(measure(sys.argv[1], limit)))  # noqa: T201 - a program
