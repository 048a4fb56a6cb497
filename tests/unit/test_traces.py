# SPDX-License-Identifier: GPL-2.0-or-later
"""What looks for addresses finds them: in every spelling, in every kind of sink.

The sinks are made as the daemon makes them, with an address that has no business there;
the live test looks at the real ones (`netns/test_privacy.py`).
"""

import base64
import gzip
import ipaddress
import json
import logging
import random
from collections.abc import Callable

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from tests.lab.traces import Traces, forms
from vpngate.cli.printing.named_rows import rows
from vpngate.daemon.outside.logs import JsonFormatter, TextFormatter
from vpngate.log_events import named

IPV4, IPV6 = "100.64.1.199", "2001:db8:64:1:5eed:c0de:feed:cafe"
each_address = pytest.mark.parametrize("address", [IPV4, IPV6])
SEED = 20


def raw(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def number(address: str) -> int:
    return int(ipaddress.ip_address(address))


# Whatever a message, a label or a file may make of an address.
SPELLINGS: dict[str, Callable[[str], str | bytes]] = {
    "text": str,
    "in capitals": str.upper,
    "with all its zeros": lambda a: ipaddress.ip_address(a).exploded,
    "behind a letter": lambda a: f"client-{a}",
    "with a length": lambda a: f"{a}/{8 * len(raw(a))}",
    "with a port": lambda a: f"[{a}]:51820",
    "in a URL": lambda a: f"/check?address={a.replace(':', '%3A')}&x",
    "backwards in DNS": lambda a: ipaddress.ip_address(a).reverse_pointer,
    "raw": raw,
    "raw, turned": lambda a: raw(a)[::-1],
    "raw, as numpy has it": lambda a: (
        np.frombuffer(raw(a), ">u4").astype("<u4").tobytes()
    ),
    "hex": lambda a: raw(a).hex(),
    "hex of a number": lambda a: hex(number(a)),
    "hex, turned": lambda a: raw(a)[::-1].hex().upper(),
    "hex, byte by byte": lambda a: raw(a).hex(":"),
    "hex, as nft has it": lambda a: raw(a).hex(" "),
    "a number": lambda a: str(number(a)),
    "a number, turned": lambda a: str(int.from_bytes(raw(a), "little")),
    "a list": lambda a: str(list(raw(a))),
    "Python's bytes": lambda a: repr(b"x" + raw(a) + b"y"),
    "Python's address": lambda a: repr(ipaddress.ip_address(a)),
    "JSON of bytes": lambda a: json.dumps(raw(a).decode("latin-1")),
    "base64 of bytes": lambda a: base64.b64encode(raw(a)),
    "base64 of text": lambda a: base64.b64encode(f"at {a}, now".encode()),
    "base64 of text, shifted": lambda a: base64.urlsafe_b64encode(f"x{a}|".encode()),
}


@each_address
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_found(address: str, spelling: str) -> None:
    traces = Traces(address)
    spelled = SPELLINGS[spelling](address)
    content = spelled if isinstance(spelled, bytes) else spelled.encode()
    for before, behind in ((b"", b""), (b"x = ", b"\n"), (b'{"', b'"}')):
        assert traces.found(before + content + behind), (before, content)
    assert traces.found(gzip.compress(content))


def record(message: str, **fields: object) -> logging.LogRecord:
    made = {"msg": message, "name": "vpngate.feed", "levelno": logging.DEBUG}
    return logging.makeLogRecord(made | named("planted", **fields))


def labelled(text: str) -> bytes:
    registry = CollectorRegistry()
    counter = Counter("planted", "x", ["who"], registry=registry)
    counter.labels(text).inc()
    return generate_latest(registry)


# Everything that the live test looks at is one of these kinds.
SINKS: dict[str, Callable[[str], str | bytes]] = {
    "a line of the log": lambda a: TextFormatter(journal=False).format(record(a)),
    "in the journal": lambda a: TextFormatter(journal=True).format(record(a)),
    "an object of the log": lambda a: JsonFormatter().format(record(a)),
    "a field of the log": lambda a: JsonFormatter().format(record("x", of=a)),
    "bytes in the log": lambda a: TextFormatter(journal=False).format(
        record(f"{raw(a)!r}")
    ),
    "bytes in JSON": lambda a: JsonFormatter().format(record(raw(a).decode("latin-1"))),
    "an exception in the log": lambda a: repr(ValueError(raw(a))),
    "a label": labelled,
    "a page": lambda a: f"<td>{a}<td>3",
    "status": lambda a: "\n".join(rows({"flows": {a: 3}, "reasons": [a]})),
    "status for programs": lambda a: json.dumps({"flows": [{"of": list(raw(a))}]}),
    "a file": lambda a: b"\0\1" + raw(a) + b"\xff",
    "a packed file": lambda a: gzip.compress(raw(a)),
    "a comment in nft": lambda a: json.dumps({"rule": {"comment": f"flow of {a}"}}),
    "a name in nft": lambda a: json.dumps({"counter": {"name": "c" + raw(a).hex()}}),
    "a name of tc": lambda a: f"class htb 1:{raw(a)[-2:].hex()} {raw(a).hex()}",
}


@each_address
@pytest.mark.parametrize("sink", SINKS)
def test_one_that_is_planted_is_found_in_every_kind_of_sink(
    address: str, sink: str
) -> None:
    assert Traces(IPV4, IPV6).found(SINKS[sink](address))
    other = "192.0.2.77" if address == IPV4 else "2001:db8:ffff::77"
    assert not Traces(IPV4, IPV6).found(SINKS[sink](other))


def test_what_is_no_address_is_not_found() -> None:
    traces = Traces(IPV4, IPV6)
    choice = random.Random(SEED)
    assert traces.found(choice.randbytes(1 << 20)) == []
    for text in (
        f"1{IPV4}",
        f"{IPV4}9",
        f"{IPV4}.7",
        "100.64.1.19 100.64.1.0/24 100.64.1.1",
        f"9{number(IPV4)} {number(IPV4)}1",
        "2001:db8:64:1::/64",
    ):
        assert traces.found(text) == []
    assert traces.found(b"\x1f\x8b is no gzip") == []


def test_no_expression_is_empty() -> None:
    """None is empty, which everything would match."""
    for address in (IPV4, IPV6):
        for name, form in forms(address).items():
            assert len(form.spelled) >= 4, name
        assert len(forms(address)) > 25
