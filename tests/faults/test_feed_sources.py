# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources over time: order, retries, what is asked again and what is remembered."""

import gzip
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.faults.asking import ask
from tests.faults.certificates import Authority
from tests.faults.registry_server import Connection, RegistryServer, closed_port
from tests.faults.signing import Signer
from vpngate.errors import Problem, RegistryRefused
from vpngate.feed import (
    Answer,
    Feed,
    FeedSettings,
    Fetched,
    FetchLimits,
    NoSourceAnswered,
    NotModified,
    Reason,
    reason_of,
)

GOOD = b"prefix,registration\n192.0.2.0/24,R-1\n"
NEWER = b"prefix,registration\n192.0.2.0/24,R-1\n198.51.100.0/24,R-2\n"
PATH = "/registry.csv"
LIMITS = FetchLimits(connect=2.0, idle=2.0, deadline=10.0, pause=0.01, file_pause=0.01)


def stamped(signer: Signer, data: bytes, timestamp: int) -> bytes:
    return signer.sign(data, f"timestamp:{timestamp}\tfile:registry.csv\thashed")


def publish(
    server: RegistryServer, signer: Signer, data: bytes, timestamp: int = 1_700_000_000
) -> None:
    etag = f'"{hash(data):x}"'
    server.publish(PATH, data, ETag=etag, Last_Modified="Tue, 14 Nov 2023 22:13:20 GMT")
    server.publish(PATH + ".minisig", stamped(signer, data, timestamp))


def feed(authority: Authority, signer: Signer | None, *sources: str) -> Feed:
    settings = FeedSettings.parse(
        sources,
        signer.public if signer else "",
        allow_unsigned=signer is None,
        ca_file=authority.path,
        limits=LIMITS,
    )
    return Feed(settings, Random(1))


def fetched(answer: object) -> Fetched:
    assert isinstance(answer, Fetched)
    return answer


def paths(server: RegistryServer) -> list[str]:
    return [request.path for request in server.requests]


def test_first_source_alone(
    authority: Authority,
    signer: Signer,
    server: RegistryServer,
    mirror: RegistryServer,
) -> None:
    publish(server, signer, GOOD)
    publish(mirror, signer, NEWER)
    answer = ask(feed(authority, signer, server.url(PATH), mirror.url(PATH)))
    assert fetched(answer).data == GOOD
    assert answer.faults == ()
    assert not mirror.requests


def test_unchanged_costs_one_small_request(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    publish(server, signer, GOOD)
    client = feed(authority, signer, server.url(PATH))
    first = fetched(ask(client))
    server.requests.clear()

    answer = ask(client, first.validators)

    assert isinstance(answer, NotModified)
    assert answer.validators == first.validators
    assert paths(server) == [PATH]
    headers = server.requests[0].headers
    assert headers["if-none-match"] == first.validators.condition.etag
    assert headers["if-modified-since"] == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_changed_is_fetched_whole(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    publish(server, signer, GOOD)
    client = feed(authority, signer, server.url(PATH))
    first = fetched(ask(client))
    publish(server, signer, NEWER)
    second = fetched(ask(client, first.validators))
    assert second.data == NEWER
    assert second.validators.digest != first.validators.digest


def test_same_bytes_from_a_mirror_are_not_modified(
    authority: Authority,
    signer: Signer,
    server: RegistryServer,
    mirror: RegistryServer,
) -> None:
    publish(server, signer, GOOD)
    publish(mirror, signer, GOOD, timestamp=1_600_000_000)
    client = feed(authority, signer, server.url(PATH), mirror.url(PATH))
    first = fetched(ask(client))
    server.routes.clear()

    answer = ask(client, first.validators)

    assert isinstance(answer, NotModified)
    assert answer.source == mirror.url(PATH)
    assert answer.validators.source == mirror.url(PATH)
    assert answer.validators.signed_at == first.validators.signed_at
    assert reason_of(answer.faults[0]) == Reason.NOT_FOUND
    # The word of the one server is not told to the other, whose own comes next.
    assert "if-none-match" not in mirror.requests[0].headers
    again = ask(client, answer.validators)
    assert isinstance(again, NotModified)
    assert "if-none-match" in mirror.requests[-1].headers


def test_other_key_asks_for_the_whole(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    publish(server, signer, GOOD)
    first = fetched(ask(feed(authority, signer, server.url(PATH))))
    successor = Signer()
    publish(server, successor, GOOD)
    answer = fetched(
        ask(feed(authority, successor, server.url(PATH)), first.validators)
    )
    assert answer.validators.key_id != first.validators.key_id
    assert answer.signature == stamped(successor, GOOD, 1_700_000_000)


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("timestamp:1600000000\tfile:registry.csv", "signed 100000000 s before"),
        ("by hand", "does not say when it was signed"),
    ],
)
def test_older_signature_is_a_replay(
    authority: Authority,
    signer: Signer,
    server: RegistryServer,
    comment: str,
    words: str,
) -> None:
    publish(server, signer, NEWER)
    client = feed(authority, signer, server.url(PATH))
    first = fetched(ask(client))
    server.publish(PATH, GOOD)
    server.publish(PATH + ".minisig", signer.sign(GOOD, comment))

    with pytest.raises(NoSourceAnswered, match=words) as caught:
        ask(client, first.validators)

    assert caught.value.reason == Reason.SIGNATURE_OLDER
    assert fetched(ask(client, None)).data == GOOD  # a person's word: no previous


def test_refused_by_the_guard_goes_to_the_next(
    authority: Authority,
    signer: Signer,
    server: RegistryServer,
    mirror: RegistryServer,
) -> None:
    """A mirror that replays an old serial, signed: its age is the guard's to see."""
    publish(server, signer, GOOD)
    publish(mirror, signer, NEWER)

    def guard(answer: Answer) -> None:
        candidate = fetched(answer)
        if candidate.data == GOOD:
            problem = Problem(candidate.source, "serial 41 is older than 42")
            raise RegistryRefused("serial_older", problem)

    client = feed(authority, signer, server.url(PATH), mirror.url(PATH))
    answer = fetched(ask(client, None, guard))
    assert answer.data == NEWER
    assert [reason_of(fault) for fault in answer.faults] == ["serial_older"]

    publish(mirror, signer, GOOD)
    with pytest.raises(NoSourceAnswered) as caught:
        ask(client, None, guard)
    assert [reason_of(fault) for fault in caught.value.faults] == ["serial_older"] * 2
    assert len(caught.value.lines) == 2


def test_passing_fault_is_tried_again(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    """Also past the caches on the way: they may hold the half of a publication."""
    publish(server, signer, GOOD)
    good = server.routes[PATH]
    failures = iter(["500 Internal Server Error", "503 Service Unavailable"])

    def route(connection: Connection) -> None:
        if line := next(failures, None):
            connection.head(line, Content_Length="0")
        else:
            good(connection)

    server.routes[PATH] = route
    answer = fetched(ask(feed(authority, signer, server.url(PATH))))
    assert answer.data == GOOD
    assert answer.faults == ()
    fresh = [r.headers.get("cache-control") for r in server.requests if r.path == PATH]
    assert fresh == [None, "no-cache", "no-cache"]


def test_lasting_fault_is_not_tried_again(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    with pytest.raises(NoSourceAnswered):
        ask(feed(authority, signer, server.url(PATH)))
    assert paths(server) == [PATH]


def test_publication_between_two_requests(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    """The old registry was read, the new signature is there: the next try fits."""
    publish(server, signer, NEWER, timestamp=1_700_000_001)
    newer = server.routes[PATH]
    served = iter([GOOD])

    def route(connection: Connection) -> None:
        if (old := next(served, None)) is None:
            newer(connection)
        else:
            connection.head(Content_Length=str(len(old)), Content_Type="text/csv")
            connection.send(old)

    server.routes[PATH] = route
    answer = fetched(ask(feed(authority, signer, server.url(PATH))))
    assert answer.data == NEWER


def test_all_reasons_are_told(
    authority: Authority, signer: Signer, server: RegistryServer, tmp_path: Path
) -> None:
    sources = [
        str(tmp_path / "absent.csv"),
        f"https://localhost:{closed_port()}/r.csv?token=secret",
        server.url(PATH),
    ]
    with pytest.raises(NoSourceAnswered) as caught:
        ask(feed(authority, signer, *sources))
    reasons = [reason_of(fault) for fault in caught.value.faults]
    assert reasons == ["file_missing", "unreachable", "not_found"]
    assert caught.value.reason == "file_missing"
    assert len(caught.value.lines) == 3
    assert "secret" not in str(caught.value)


def test_redirect_within_https(
    authority: Authority,
    signer: Signer,
    server: RegistryServer,
    mirror: RegistryServer,
) -> None:
    publish(mirror, signer, GOOD)
    for path in (PATH, PATH + ".minisig"):
        target = mirror.url(path)
        server.routes[path] = lambda c, to=target: c.head(  # type: ignore[misc]
            "307 Temporary Redirect", Location=to, Content_Length="0"
        )
    answer = fetched(ask(feed(authority, signer, server.url(PATH))))
    assert answer.data == GOOD
    assert answer.source == server.url(PATH)


def test_query_stays_behind_the_suffix(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    server.publish(PATH + "?v=1", GOOD)
    server.publish(PATH + ".minisig?v=1", signer.sign(GOOD))
    answer = fetched(ask(feed(authority, signer, server.url(PATH + "?v=1"))))
    assert answer.data == GOOD
    assert answer.source == server.url(PATH)


def test_published_gzip_is_handed_on_packed(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    packed = gzip.compress(GOOD) + gzip.compress(NEWER)
    server.publish("/r.gz", packed, Content_Type="application/gzip")
    server.publish("/r.gz.minisig", signer.sign(packed))
    answer = fetched(ask(feed(authority, signer, server.url("/r.gz"))))
    assert answer.data == packed


def test_chunked_without_type(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    def route(connection: Connection) -> None:
        connection.head(Transfer_Encoding="chunked")
        connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD))

    server.routes[PATH] = route
    server.publish(PATH + ".minisig", signer.sign(GOOD))
    assert fetched(ask(feed(authority, signer, server.url(PATH)))).data == GOOD
    assert fetched(ask(feed(authority, None, server.url(PATH)))).data == GOOD


def test_unsigned_needs_a_stated_end(
    authority: Authority, server: RegistryServer
) -> None:
    """Half a registry, unsigned and without a length, would look whole."""

    def route(connection: Connection) -> None:
        connection.head(Content_Type="text/csv")
        connection.send(GOOD)

    server.routes[PATH] = route
    with pytest.raises(NoSourceAnswered, match="states no length") as caught:
        ask(feed(authority, None, server.url(PATH)))
    assert caught.value.reason == Reason.TRUNCATED

    server.publish(PATH, GOOD)
    answer = fetched(ask(feed(authority, None, server.url(PATH))))
    assert (answer.data, answer.signature) == (GOOD, None)
    assert answer.validators.key_id == ""
    assert PATH + ".minisig" not in paths(server)


def test_hostile_validators_are_not_remembered(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    server.publish(PATH, GOOD, ETag='"' + "x" * 2000 + '"', Last_Modified="\x80\x81")
    server.publish(PATH + ".minisig", signer.sign(GOOD))
    answer = fetched(ask(feed(authority, signer, server.url(PATH))))
    assert answer.validators.condition.headers == {}


def test_address_instead_of_name(
    authority: Authority, signer: Signer, server: RegistryServer
) -> None:
    publish(server, signer, GOOD)
    url = f"https://127.0.0.1:{server.port}{PATH}"
    assert fetched(ask(feed(authority, signer, url))).data == GOOD


def test_unreadable_ca_file(
    authority: Authority, signer: Signer, server: RegistryServer, tmp_path: Path
) -> None:
    publish(server, signer, GOOD)
    settings = feed(authority, signer, server.url(PATH))._settings
    (tmp_path / "text.pem").write_text("no certificate")
    for name in ("absent.pem", "text.pem"):
        broken = replace(settings, ca_file=tmp_path / name)
        with pytest.raises(NoSourceAnswered, match="read as certificates") as caught:
            ask(Feed(broken))
        assert caught.value.reason == Reason.CERTIFICATE
