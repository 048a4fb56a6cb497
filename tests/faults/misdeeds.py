# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything an HTTPS source can do wrong, one row each.

Knows how a server misbehaves, and by which reason and words the fault has to be
known; does not know who asks, a feed alone (test_feed_https.py) or a whole daemon
(tests/netns/test_registry_faults.py).
"""

import gzip
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from tests.faults.certificates import Authority
from tests.faults.registry_server import (
    Connection,
    RegistryServer,
    Tarpit,
    closed_port,
)
from tests.faults.signing import Signer
from vpngate.feed import FetchLimits, Reason

GOOD = b"prefix,registration\n192.0.2.0/24,R-1\n"
OTHER = b"prefix,registration\n198.51.100.0/24,R-2\n"
PATH = "/registry.csv"
SIGNATURE_PATH = PATH + ".minisig"

# Short, so that the slow rows are over soon; the deadline is the longest of them.
LIMITS = FetchLimits(
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
    """What a row may use to set its stage.

    content   what the server publishes, signed by `signer`, before anything is wrong
    url       where the feed is told to ask
    trusted   issues the server's certificate; nobody trusts `stranger`
    later     ends what a row has started
    """

    server: RegistryServer
    signer: Signer
    content: bytes
    url: str
    trusted: Authority
    stranger: Authority
    later: ExitStack

    def route(self, answer: Callable[[Connection], None]) -> None:
        self.server.routes[PATH] = answer

    def sign(self, content: bytes) -> None:
        """Replaces the signature that the server has for the registry."""
        self.server.publish(SIGNATURE_PATH, content, Content_Type="text/plain")


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
    tarpit = scene.later.enter_context(Tarpit())
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


# 600 kB that unfold to nothing, in more members than anybody makes.
_EMPTY_MEMBERS = gzip.compress(b"", mtime=0) * 30_000


def empty_members(scene: Scene) -> None:
    """By a server that has no key: the signature is that of the registry."""
    scene.server.publish(PATH, _EMPTY_MEMBERS, Content_Encoding="gzip")


def signed_empty_members(scene: Scene) -> None:
    scene.sign(scene.signer.sign(_EMPTY_MEMBERS))
    scene.server.publish(PATH, _EMPTY_MEMBERS, Content_Type="application/gzip")


def cut_gzip(scene: Scene) -> None:
    packed = gzip.compress(os.urandom(1000))[:-20]
    scene.sign(scene.signer.sign(packed))
    scene.server.publish(PATH, packed, Content_Type="application/gzip")


def signature(content: Callable[[Scene], bytes]) -> Stage:
    return lambda scene: scene.sign(content(scene))


def no_signature(scene: Scene) -> None:
    del scene.server.routes[SIGNATURE_PATH]


def signature_server_error(scene: Scene) -> None:
    scene.server.routes[SIGNATURE_PATH] = lambda c: c.head(
        "503 Service Unavailable", Content_Length="0"
    )


def changed_registry(scene: Scene) -> None:
    scene.server.publish(PATH, scene.content + b"\n")


def certificate(
    issuer: str, host: str = "localhost", age: timedelta = timedelta(hours=1)
) -> Stage:
    """From now on the server presents another one."""

    def stage(scene: Scene) -> None:
        scene.server.context = getattr(scene, issuer).context(host, age=age)

    return stage


def no_tls(scene: Scene) -> None:
    """HTTP where TLS is expected."""
    scene.server.context = None


@dataclass(frozen=True)
class Row:
    """A fault, the metric's label for it, and words of the line that tells of it."""

    stage: Stage
    reason: Reason
    words: str


ROWS: dict[str, Row] = {
    "no TLS hello": Row(tarpit, Reason.TIMEOUT, "no answer in time"),
    "no answer": Row(silent, Reason.TIMEOUT, "no answer in time"),
    "slow loris, body": Row(slow_body, Reason.TIMEOUT, "did not deliver within"),
    "slow loris, head": Row(slow_head, Reason.TIMEOUT, "did not deliver within"),
    "slow loris, no length": Row(
        slow_body_without_end, Reason.TIMEOUT, "did not deliver within"
    ),
    "connection refused": Row(refused, Reason.UNREACHABLE, "refused"),
    "closed unanswered": Row(closed_unanswered, Reason.UNREACHABLE, "closed before"),
    "reset midway": Row(reset_midway, Reason.TRUNCATED, "ended early"),
    "404": Row(status("404 Not Found"), Reason.NOT_FOUND, "404 Not Found"),
    "410": Row(status("410 Gone"), Reason.NOT_FOUND, "410 Gone"),
    "401": Row(status("401 Unauthorized"), Reason.FORBIDDEN, "401"),
    "403": Row(status("403 Forbidden"), Reason.FORBIDDEN, "403"),
    "429": Row(status("429 Too Many Requests"), Reason.SERVER_ERROR, "429"),
    "500": Row(status("500 Internal Server Error"), Reason.SERVER_ERROR, "500"),
    "503": Row(status("503 Service Unavailable"), Reason.SERVER_ERROR, "503"),
    "599, of no standard": Row(status("599"), Reason.SERVER_ERROR, "599"),
    "204": Row(status("204 No Content"), Reason.HTTP_STATUS, "204"),
    "206": Row(status("206 Partial Content"), Reason.HTTP_STATUS, "206"),
    "304 unasked": Row(status("304 Not Modified"), Reason.HTTP_STATUS, "304"),
    "418": Row(status("418 I'm a teapot"), Reason.HTTP_STATUS, "418"),
    "a reason that commands a terminal": Row(
        status("503 \x1b[2J\x9b\x85now"),
        Reason.SERVER_ERROR,
        r"503 \x1b[2J\x9b\x85now",
    ),
    "a type that commands a terminal": Row(
        body(GOOD, length=len(GOOD), Content_Type="text/\x1b[2J"),
        Reason.CONTENT_TYPE,
        r"text/\x1b[2j",
    ),
    "a coding that commands a terminal": Row(
        body(GOOD, length=len(GOOD), Content_Encoding="br\x1b[2J"),
        Reason.CONTENT_ENCODING,
        r"br\x1b[2j",
    ),
    "a target that commands a terminal": Row(
        redirect("http://localhost/\x1b[2J"), Reason.REDIRECT, "redirects to"
    ),
    "a reason of 10 kB": Row(
        status("503 " + "x" * 10_000), Reason.SERVER_ERROR, "x" * 500
    ),
    "no HTTP": Row(
        lambda scene: scene.route(lambda c: c.send(b"220 smtp ready\r\n")),
        Reason.PROTOCOL,
        "220 smtp ready",
    ),
    "endless header line": Row(
        lambda scene: scene.route(
            lambda c: c.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**17)
        ),
        Reason.PROTOCOL,
        "exchange failed",
    ),
    "two lengths": Row(
        lambda scene: scene.route(
            lambda c: c.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
                b"Content-Length: 3\r\nContent-Length: 5\r\n\r\n12345"
            )
        ),
        Reason.PROTOCOL,
        "exchange failed",
    ),
    "truncated": Row(body(GOOD, length=1000), Reason.TRUNCATED, "ended early"),
    "truncated, chunked": Row(broken_chunks, Reason.TRUNCATED, "ended early"),
    "nonsense for chunks": Row(nonsense_chunks, Reason.TRUNCATED, "ended early"),
    "truncated, no length": Row(unframed, Reason.SIGNATURE_WRONG, "does not fit"),
    "truncated gzip": Row(cut_gzip, Reason.TRUNCATED, "ends early"),
    "a page": Row(
        body(GOOD, length=len(GOOD), Content_Type="text/html; charset=utf-8"),
        Reason.CONTENT_TYPE,
        "served as text/html",
    ),
    "brotli": Row(
        body(GOOD, length=len(GOOD), Content_Encoding="br"),
        Reason.CONTENT_ENCODING,
        "coding br",
    ),
    "10 GB announced": Row(
        ten_gigabytes_announced, Reason.TOO_LARGE, "10000000000 bytes"
    ),
    "10 GB sent": Row(ten_gigabytes_sent, Reason.TOO_LARGE, "more than 1048576 bytes"),
    "gzip bomb, file": Row(bomb(coded=False), Reason.TOO_LARGE, "unpacks to more than"),
    "gzip bomb, coding": Row(
        bomb(coded=True), Reason.CONTENT_ENCODING, "does not fit the bytes as sent"
    ),
    "a million empty members, coding": Row(
        empty_members, Reason.CONTENT_ENCODING, "does not fit the bytes as sent"
    ),
    "a million empty members, signed": Row(
        signed_empty_members, Reason.TOO_LARGE, "more than 16384 members"
    ),
    "redirect to http": Row(
        redirect("http://localhost/registry.csv"),
        Reason.REDIRECT,
        "is not https",
    ),
    "redirect to a file": Row(
        redirect("file:///etc/passwd"),
        Reason.REDIRECT,
        "not https",
    ),
    "redirect loop": Row(
        redirect(PATH, "308 Permanent Redirect"), Reason.REDIRECT, "5 t"
    ),
    "redirect with password": Row(
        redirect("https://me:secret@localhost/"),
        Reason.REDIRECT,
        "user name or password",
    ),
    "certificate not trusted": Row(
        certificate("stranger"),
        Reason.CERTIFICATE,
        "certificate is not accepted",
    ),
    "certificate of another host": Row(
        certificate("trusted", "registry.example"),
        Reason.CERTIFICATE,
        "Hostname mismatch",
    ),
    "certificate expired": Row(
        certificate("trusted", age=timedelta(days=3)),
        Reason.CERTIFICATE,
        "certificate has expired",
    ),
    "no TLS": Row(no_tls, Reason.TLS, "no TLS connection"),
    "signature missing": Row(no_signature, Reason.SIGNATURE_MISSING, "no signature"),
    "signature unavailable": Row(signature_server_error, Reason.SERVER_ERROR, "503"),
    "signature of another registry": Row(
        signature(lambda scene: scene.signer.sign(OTHER)),
        Reason.SIGNATURE_WRONG,
        "does not fit",
    ),
    "registry changed": Row(changed_registry, Reason.SIGNATURE_WRONG, "does not fit"),
    "signature of another key": Row(
        signature(lambda scene: Signer().sign(scene.content)),
        Reason.SIGNATURE_KEY,
        "made with key",
    ),
    "another key under the same id": Row(
        signature(lambda scene: Signer(key_id=scene.signer.key_id).sign(scene.content)),
        Reason.SIGNATURE_WRONG,
        "does not fit",
    ),
    "trusted comment changed": Row(
        signature(
            lambda scene: scene.signer.sign(scene.content).replace(
                b"1700000000", b"1900000000"
            )
        ),
        Reason.SIGNATURE_WRONG,
        "trusted comment was changed",
    ),
    "signature is a page": Row(
        signature(lambda _: b"<html>not here</html>"),
        Reason.SIGNATURE_MALFORMED,
        "not a minisign signature",
    ),
    "signature endless": Row(
        signature(lambda _: b"#" * 2**16),
        Reason.TOO_LARGE,
        "65536 bytes",
    ),
}
