# SPDX-License-Identifier: GPL-2.0-or-later
"""How an HTTPS source is made to do something wrong.

Knows what a server sends then; does not know which fault it has to be taken for
(`misdeeds.py`).
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
from vpngate.feed import FetchLimits

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


def chunk_size_without_end(scene: Scene) -> None:
    """The line that states a chunk's size never ends."""

    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv", Transfer_Encoding="chunked")
        for _ in range(2**12):
            c.send(b"0" * 0x10000)

    scene.route(answer)


def chunk_trailers_without_end(scene: Scene) -> None:
    """The registry is there, and fields behind it that never end."""

    def answer(c: Connection) -> None:
        c.head(Content_Type="text/csv", Transfer_Encoding="chunked")
        c.send(b"%x\r\n%b\r\n0\r\n" % (len(GOOD), GOOD))
        while True:
            c.send(b"X: y\r\n" * 100)
            scene.server.pause(0.01)

    scene.route(answer)


def go_on_without_end(scene: Scene) -> None:
    """Nothing but interim answers (RFC 9110, 15.2)."""

    def answer(c: Connection) -> None:
        while True:
            c.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            scene.server.pause(0.01)

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
