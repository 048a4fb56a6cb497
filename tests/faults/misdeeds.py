# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything an HTTPS source can do wrong, one row each.

Knows by which reason and words each misdeed (`scenes.py`) has to be known; does not
know who asks, a feed alone (test_feed_https.py) or a whole daemon
(tests/netns/test_registry_faults.py).
"""

from dataclasses import dataclass
from datetime import timedelta

from tests.faults.scenes import (
    GOOD,
    OTHER,
    PATH,
    Stage,
    body,
    bomb,
    broken_chunks,
    certificate,
    changed_registry,
    chunk_size_without_end,
    chunk_trailers_without_end,
    closed_unanswered,
    cut_gzip,
    empty_members,
    go_on_without_end,
    no_signature,
    no_tls,
    nonsense_chunks,
    redirect,
    refused,
    reset_midway,
    signature,
    signature_server_error,
    signed_empty_members,
    silent,
    slow_body,
    slow_body_without_end,
    slow_head,
    status,
    tarpit,
    ten_gigabytes_announced,
    ten_gigabytes_sent,
    unframed,
)
from tests.faults.signing import Signer
from vpngate.feed import Reason


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
    "a length of 5,000 digits": Row(
        body(GOOD, Content_Length="9" * 5000), Reason.TOO_LARGE, "9" * 500
    ),
    "a negative length": Row(
        body(GOOD[:-9], Content_Length="-1"), Reason.SIGNATURE_WRONG, "does not fit"
    ),
    "a chunk's size without end": Row(
        chunk_size_without_end, Reason.TRUNCATED, "ended early"
    ),
    "trailers without end": Row(
        chunk_trailers_without_end, Reason.TIMEOUT, "did not deliver within"
    ),
    "interim answers without end": Row(
        go_on_without_end, Reason.TIMEOUT, "did not deliver within"
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
    "redirect to a host without a name": Row(
        redirect("https://.example/"), Reason.PROTOCOL, "exchange failed"
    ),
    "redirect to a host with a name that is too long": Row(
        redirect(f"https://{'x' * 64}.example/"), Reason.PROTOCOL, "exchange failed"
    ),
    "redirect to a port that is none": Row(
        redirect("https://localhost:99999/"), Reason.REDIRECT, "Port out of range"
    ),
    "redirect to letters beyond ASCII": Row(
        redirect("/\xfc"), Reason.REDIRECT, "beyond ASCII"
    ),
    "redirect to brackets": Row(
        redirect("https://[::1/"), Reason.REDIRECT, "not fetched"
    ),
    "redirect to an address with a zone": Row(
        redirect("https://[fe80::1%25\x1b]/"), Reason.REDIRECT, "not fetched"
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
