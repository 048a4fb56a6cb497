# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything an HTTPS source can do wrong, one row each, against a real TLS server.

Each row is run twice. Alone: the fetch fails with the row's reason in one readable
line, within its time, and the registry kept on disk is not touched. With a good
mirror behind it: the mirror's registry is delivered, and the reason still told.
"""

import gzip
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.certificates import Authority
from tests.faults.registry_server import (
    Connection,
    RegistryServer,
    Tarpit,
    closed_port,
)
from tests.faults.signing import Signer
from vpngate.feed import (
    Feed,
    FeedSettings,
    Fetched,
    LastGood,
    Limits,
    NoSourceAnswered,
    Reason,
    Store,
    Validators,
)

GOOD = b"prefix,registration\n192.0.2.0/24,R-1\n"
OTHER = b"prefix,registration\n198.51.100.0/24,R-2\n"
PATH = "/registry.csv"
SIGNATURE_PATH = PATH + ".minisig"

# Short, so that the slow rows are over soon; the deadline is the longest of them.
LIMITS = Limits(
    published=2**20,
    expanded=2**21,
    connect=2.0,
    idle=1.0,
    deadline=2.5,
    attempts=1,
    pause=0.02,
)


@dataclass
class Scene:
    """What a row may use to set its stage; `url` is what the feed is given."""

    request: pytest.FixtureRequest
    server: RegistryServer
    signer: Signer
    url: str

    def route(self, answer: Callable[[Connection], None]) -> None:
        self.server.routes[PATH] = answer

    def sign(self, content: bytes) -> None:
        """Replaces the signature that the server has for the registry."""
        self.server.publish(SIGNATURE_PATH, content, Content_Type="text/plain")

    def elsewhere(self, fixture: str) -> None:
        other: RegistryServer = self.request.getfixturevalue(fixture)
        other.routes.update(self.server.routes)
        self.url = other.url(PATH)


Stage = Callable[[Scene], None]


def status(line: str) -> Stage:
    return lambda scene: scene.route(
        lambda c: c.head(line, Content_Type="text/csv", Content_Length="0")
    )


def redirect(location: str, line: str = "302 Found") -> Stage:
    return lambda scene: scene.route(
        lambda c: c.head(line, Location=location, Content_Length="0")
    )


def body(content: bytes, *, length: int | None = None, **headers: str) -> Stage:
    def stage(scene: Scene) -> None:
        def answer(c: Connection) -> None:
            fields = {"Content_Type": "text/csv"} | headers
            if length is not None:
                fields["Content_Length"] = str(length)
            c.head(**fields)
            c.send(content)

        scene.route(answer)

    return stage


def silent(scene: Scene) -> None:
    scene.route(lambda _: scene.server.pause(10))


def tarpit(scene: Scene) -> None:
    tarpit = Tarpit().__enter__()
    scene.request.addfinalizer(tarpit.__exit__)
    scene.url = tarpit.url(PATH)


def refused(scene: Scene) -> None:
    scene.url = f"https://localhost:{closed_port()}{PATH}"


def slow_body(scene: Scene) -> None:
    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv", Content_Length="100000")
        while True:
            c.send(b"#")
            scene.server.pause(0.05)

    scene.route(answer)


def slow_head(scene: Scene) -> None:
    def answer(c: Connection) -> None:
        c.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            c.send(b"#")
            scene.server.pause(0.05)

    scene.route(answer)


def slow_body_without_end(scene: Scene) -> None:
    """No length: when the deadline cuts it, it must not look complete."""

    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv")
        while True:
            c.send(b"#")
            scene.server.pause(0.05)

    scene.route(answer)


def ten_gigabytes_announced(scene: Scene) -> None:
    body(GOOD, length=10 * 10**9)(scene)


def ten_gigabytes_sent(scene: Scene) -> None:
    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv", Transfer_Encoding="chunked")
        piece = b"10000\r\n" + b"#" * 0x10000 + b"\r\n"
        for _ in range(10 * 10**9 // 0x10000):
            c.send(piece)

    scene.route(answer)


def broken_chunks(scene: Scene) -> None:
    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv", Transfer_Encoding="chunked")
        c.send(b"%x\r\n%b\r\n" % (len(GOOD), GOOD))

    scene.route(answer)


def nonsense_chunks(scene: Scene) -> None:
    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv", Transfer_Encoding="chunked")
        c.send(b"many\r\n" + GOOD)

    scene.route(answer)


def reset_midway(scene: Scene) -> None:
    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv", Content_Length="1000")
        c.send(GOOD)
        time.sleep(0.1)
        c.reset()

    scene.route(answer)


def closed_unanswered(scene: Scene) -> None:
    scene.route(lambda _: None)


def unframed(scene: Scene) -> None:
    """Signed, so the missing length is no fault; but it ends early."""
    body(GOOD[:-9])(scene)


def bomb(*, coded: bool) -> Stage:
    """Two kilobytes that unpack to four megabytes; signed, so only size tells."""

    def stage(scene: Scene) -> None:
        content = bytes(2**22)
        packed = gzip.compress(content)
        scene.sign(scene.signer.sign(content if coded else packed))
        headers = {"Content_Encoding": "gzip"} if coded else {}
        scene.server.publish(PATH, packed, **headers)

    return stage


def cut_gzip(scene: Scene) -> None:
    packed = gzip.compress(os.urandom(1000))[:-20]
    scene.sign(scene.signer.sign(packed))
    scene.server.publish(PATH, packed, Content_Type="application/gzip")


def signature(content: Callable[[Signer], bytes]) -> Stage:
    return lambda scene: scene.sign(content(scene.signer))


def no_signature(scene: Scene) -> None:
    del scene.server.routes[SIGNATURE_PATH]


def signature_server_error(scene: Scene) -> None:
    scene.server.routes[SIGNATURE_PATH] = lambda c: c.head(
        "503 Service Unavailable", Content_Length="0"
    )


def changed_registry(scene: Scene) -> None:
    scene.server.publish(PATH, GOOD.replace(b"192.0.2", b"203.0.1"))


ROWS: dict[str, tuple[Stage, Reason, str]] = {
    "no TLS hello": (tarpit, Reason.TIMEOUT, "no answer in time"),
    "no answer": (silent, Reason.TIMEOUT, "no answer in time"),
    "slow loris, body": (slow_body, Reason.TIMEOUT, "within 2.5 s"),
    "slow loris, head": (slow_head, Reason.TIMEOUT, "within 2.5 s"),
    "slow loris, no length": (slow_body_without_end, Reason.TIMEOUT, "within 2.5 s"),
    "connection refused": (refused, Reason.UNREACHABLE, "refused"),
    "closed unanswered": (closed_unanswered, Reason.UNREACHABLE, "closed before"),
    "reset midway": (reset_midway, Reason.TRUNCATED, "ended early"),
    "404": (status("404 Not Found"), Reason.NOT_FOUND, "404 Not Found"),
    "410": (status("410 Gone"), Reason.NOT_FOUND, "410 Gone"),
    "401": (status("401 Unauthorized"), Reason.FORBIDDEN, "401"),
    "403": (status("403 Forbidden"), Reason.FORBIDDEN, "403"),
    "429": (status("429 Too Many Requests"), Reason.SERVER_ERROR, "429"),
    "500": (status("500 Internal Server Error"), Reason.SERVER_ERROR, "500"),
    "503": (status("503 Service Unavailable"), Reason.SERVER_ERROR, "503"),
    "599, of no standard": (status("599"), Reason.SERVER_ERROR, "599"),
    "204": (status("204 No Content"), Reason.HTTP_STATUS, "204"),
    "206": (status("206 Partial Content"), Reason.HTTP_STATUS, "206"),
    "304 unasked": (status("304 Not Modified"), Reason.HTTP_STATUS, "304"),
    "418": (status("418 I'm a teapot"), Reason.HTTP_STATUS, "418"),
    "no HTTP": (
        lambda scene: scene.route(lambda c: c.send(b"220 smtp ready\r\n")),
        Reason.PROTOCOL,
        "220 smtp ready",
    ),
    "endless header line": (
        lambda scene: scene.route(
            lambda c: c.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**17)
        ),
        Reason.PROTOCOL,
        "exchange failed",
    ),
    "two lengths": (
        lambda scene: scene.route(
            lambda c: c.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
                b"Content-Length: 3\r\nContent-Length: 5\r\n\r\n12345"
            )
        ),
        Reason.PROTOCOL,
        "exchange failed",
    ),
    "truncated": (body(GOOD, length=1000), Reason.TRUNCATED, "ended early"),
    "truncated, chunked": (broken_chunks, Reason.TRUNCATED, "ended early"),
    "nonsense for chunks": (nonsense_chunks, Reason.TRUNCATED, "ended early"),
    "truncated, no length": (unframed, Reason.SIGNATURE_WRONG, "does not fit"),
    "truncated gzip": (cut_gzip, Reason.TRUNCATED, "ends early"),
    "a page": (
        body(GOOD, length=len(GOOD), Content_Type="text/html; charset=utf-8"),
        Reason.CONTENT_TYPE,
        "served as text/html",
    ),
    "brotli": (
        body(GOOD, length=len(GOOD), Content_Encoding="br"),
        Reason.CONTENT_ENCODING,
        "coding br",
    ),
    "not the gzip it says": (
        body(GOOD, length=len(GOOD), Content_Encoding="gzip"),
        Reason.TRUNCATED,
        "not a sound gzip",
    ),
    "10 GB announced": (ten_gigabytes_announced, Reason.TOO_LARGE, "10000000000 bytes"),
    "10 GB sent": (ten_gigabytes_sent, Reason.TOO_LARGE, "more than 1048576 bytes"),
    "gzip bomb, file": (bomb(coded=False), Reason.TOO_LARGE, "unpacks to more than"),
    "gzip bomb, coding": (bomb(coded=True), Reason.TOO_LARGE, "unpacks to more than"),
    "redirect to http": (
        redirect("http://localhost/registry.csv"),
        Reason.REDIRECT,
        "is not https",
    ),
    "redirect to a file": (
        redirect("file:///etc/passwd"),
        Reason.REDIRECT,
        "not https",
    ),
    "redirect loop": (redirect(PATH, "308 Permanent Redirect"), Reason.REDIRECT, "5 t"),
    "redirect with password": (
        redirect("https://me:secret@localhost/"),
        Reason.REDIRECT,
        "user name or password",
    ),
    "certificate not trusted": (
        lambda scene: scene.elsewhere("untrusted"),
        Reason.CERTIFICATE,
        "certificate is not accepted",
    ),
    "certificate of another host": (
        lambda scene: scene.elsewhere("misnamed"),
        Reason.CERTIFICATE,
        "Hostname mismatch",
    ),
    "certificate expired": (
        lambda scene: scene.elsewhere("expired"),
        Reason.CERTIFICATE,
        "certificate has expired",
    ),
    "no TLS": (lambda scene: scene.elsewhere("plain"), Reason.TLS, "no TLS connection"),
    "signature missing": (no_signature, Reason.SIGNATURE_MISSING, "no signature"),
    "signature unavailable": (signature_server_error, Reason.SERVER_ERROR, "503"),
    "signature of another registry": (
        signature(lambda signer: signer.sign(OTHER)),
        Reason.SIGNATURE_WRONG,
        "does not fit",
    ),
    "registry changed": (changed_registry, Reason.SIGNATURE_WRONG, "does not fit"),
    "signature of another key": (
        signature(lambda _: Signer().sign(GOOD)),
        Reason.SIGNATURE_KEY,
        "made with key",
    ),
    "another key under the same id": (
        signature(lambda signer: Signer(key_id=signer.key_id).sign(GOOD)),
        Reason.SIGNATURE_WRONG,
        "does not fit",
    ),
    "trusted comment changed": (
        signature(
            lambda signer: signer.sign(GOOD).replace(b"1700000000", b"1900000000")
        ),
        Reason.SIGNATURE_WRONG,
        "trusted comment was changed",
    ),
    "signature is a page": (
        signature(lambda _: b"<html>not here</html>"),
        Reason.SIGNATURE_MALFORMED,
        "not a minisign signature",
    ),
    "signature endless": (
        signature(lambda _: b"#" * 2**16),
        Reason.TOO_LARGE,
        "65536 bytes",
    ),
}


@dataclass
class Row:
    stage: Stage
    reason: Reason
    words: str


row = pytest.mark.parametrize("row", [Row(*r) for r in ROWS.values()], ids=list(ROWS))


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, server: RegistryServer, signer: Signer
) -> Scene:
    scene = Scene(request, server, signer, server.url(PATH))
    server.publish(PATH, GOOD)
    scene.sign(signer.sign(GOOD))
    return scene


def settings(scene: Scene, authority: Authority, *sources: str) -> FeedSettings:
    return FeedSettings.parse(
        [scene.url, *sources],
        scene.signer.public,
        ca_file=authority.path,
        limits=LIMITS,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@row
def test_fault_leaves_everything(
    scene: Scene, authority: Authority, state: Path, row: Row
) -> None:
    row.stage(scene)
    store = Store(state)
    kept = LastGood(OTHER, None, Validators(digest="0" * 64))
    store.save(kept)
    before = contents(state)
    begin = time.monotonic()

    with pytest.raises(NoSourceAnswered) as caught:
        Feed(settings(scene, authority)).fetch()

    (fault,) = caught.value.faults
    assert caught.value.reason == row.reason
    assert caught.value.lines == fault.lines
    assert len(fault.lines) == 1
    assert fault.lines[0].startswith(scene.url)
    assert row.words in fault.lines[0]
    assert time.monotonic() - begin < 3 * LIMITS.deadline
    assert scene.server.sent < 2**25  # nobody read the ten gigabytes
    assert contents(state) == before
    assert store.load() == kept


@row
def test_mirror_takes_over(
    scene: Scene, authority: Authority, mirror: RegistryServer, row: Row
) -> None:
    row.stage(scene)
    mirror.publish(PATH, OTHER)
    mirror.publish(SIGNATURE_PATH, scene.signer.sign(OTHER))

    answer = Feed(settings(scene, authority, mirror.url(PATH))).fetch()

    assert isinstance(answer, Fetched)
    assert answer.data == OTHER  # the mirror's alone: never a union
    assert answer.source == mirror.url(PATH)
    assert [getattr(f, "reason", "") for f in answer.faults] == [row.reason]
    assert row.words in str(answer.faults[0])
