# SPDX-License-Identifier: GPL-2.0-or-later
import socket
import ssl
from pathlib import Path

import pytest
from urllib3.exceptions import HTTPError, NameResolutionError, ProtocolError

from tests.faults.asking import ask
from vpngate.errors import FeedFault, InvalidRegistry, RegistryRefused
from vpngate.feed import INVALID, Answer, Feed, FeedSettings, Fetched
from vpngate.feed.faults import TRANSIENT, NoSourceAnswered, Reason, fault, reason_of
from vpngate.feed.sources.tls_client import _fault_of


def caused(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except type(error) as raised:
        return raised


NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (
            caused(NameResolutionError("r.example", None, NO_NAME), NO_NAME),  # type: ignore[arg-type]
            Reason.UNREACHABLE,
            "no address (Name or service not known)",
        ),
        (ConnectionRefusedError(111, "refused"), Reason.UNREACHABLE, "(refused)"),
        (OSError("odd"), Reason.UNREACHABLE, "(odd)"),
        (
            OSError(101, "Network is unreachable"),
            Reason.UNREACHABLE,
            "(Network is",
        ),
        (
            caused(ProtocolError("broken"), ConnectionResetError(104, "reset")),
            Reason.UNREACHABLE,
            "closed before",
        ),
        (ssl.SSLError(1, "wrong version"), Reason.TLS, "(wrong version)"),
        (TimeoutError(), Reason.TIMEOUT, "no answer in time"),
        (HTTPError("line one\nline two"), Reason.PROTOCOL, "(line one line two)"),
        (HTTPError(), Reason.PROTOCOL, "(HTTPError)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_translation(error: Exception, reason: Reason, words: str) -> None:
    found = _fault_of(error, "https://r.example/")
    assert found.reason == reason
    assert words in str(found)
    assert found.lines == [str(found)]
    assert str(found).startswith("https://r.example/: ")


def test_reasons_are_labels() -> None:
    assert len(set(Reason)) == len(Reason)
    assert all(value.replace("_", "").isalpha() and value.islower() for value in Reason)
    assert set(Reason) > TRANSIENT
    assert Reason.CERTIFICATE not in TRANSIENT


def test_every_source_has_its_line() -> None:
    first = fault(Reason.NOT_FOUND, "a", "is not there")
    second = RegistryRefused("empty", "b: is empty")
    both = NoSourceAnswered([first, second])
    assert isinstance(both, FeedFault)
    assert both.reason == "not_found"
    assert both.lines == ["a: is not there", "b: is empty"]
    assert both.faults == (first, second)
    assert reason_of(second) == "empty"
    assert reason_of(InvalidRegistry([])) == "invalid"
    assert NoSourceAnswered([]).reason == "invalid"


def test_what_nobody_thought_of_is_one_sources_fault_and_the_next_is_asked(
    tmp_path: Path,
) -> None:
    sources = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for source in sources:
        source.write_text(source.name)
    feed = Feed(FeedSettings.parse([*map(str, sources)]))
    wrong = {"first.csv"}

    def examine(answer: Answer) -> None:
        assert isinstance(answer, Fetched)
        if answer.data.decode() in wrong:
            raise ZeroDivisionError("by\x1bnought")

    answer = ask(feed, examine=examine)
    assert answer.source == str(sources[1])
    (told,) = answer.faults
    assert reason_of(told) == INVALID
    (line,) = told.lines
    assert line.startswith(f"{sources[0]}: cannot be read: ZeroDivisionError: by\\x1b")
    wrong.add("second.csv")
    with pytest.raises(NoSourceAnswered) as caught:
        ask(feed, examine=examine)
    assert len(caught.value.lines) == len(sources)
