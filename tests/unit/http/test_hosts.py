# SPDX-License-Identifier: GPL-2.0-or-later
"""By which names pages may be asked for, by where they are served."""

import asyncio
from http import HTTPStatus

import pytest

from vpngate.http import Request, Response
from vpngate.http.hosts import known_hosts
from vpngate.http.routing import Routing

PUBLIC = "192.0.2.1"


@pytest.mark.parametrize(
    ("listen", "names", "host", "local", "known"),
    [
        # On loopback a proxy in front sees to names, unless some are given.
        ("127.0.0.1", (), "anything.example", "127.0.0.1", True),
        ("127.0.0.1", ("gw.example",), "gw.example", "127.0.0.1", True),
        ("127.0.0.1", ("gw.example",), "localhost", "127.0.0.1", True),
        ("127.0.0.1", ("gw.example",), "127.0.0.1", "127.0.0.1", True),
        ("::1", ("gw.example",), "::1", "::1", True),
        ("127.0.0.1", ("gw.example",), "evil.example", "127.0.0.1", False),
        # In public: the address, and what is configured.
        (PUBLIC, (), PUBLIC, PUBLIC, True),
        (PUBLIC, (), "", PUBLIC, True),  # HTTP/1.0
        (PUBLIC, (), "evil.example", PUBLIC, False),
        (PUBLIC, (), "localhost", PUBLIC, False),
        (PUBLIC, (), "192.0.2.2", PUBLIC, False),
        (PUBLIC, ("gw.example",), "gw.example", PUBLIC, True),
        (PUBLIC, ("gw.example",), "gw.example.", PUBLIC, True),
        (PUBLIC, ("GW.example",), "gw.example", PUBLIC, True),
        (PUBLIC, ("gw.example",), "www.gw.example", PUBLIC, False),
        (PUBLIC, ("gw.example",), "gw.example.evil.example", PUBLIC, False),
        # Everywhere: the address that was reached.
        ("0.0.0.0", (), PUBLIC, PUBLIC, True),
        ("0.0.0.0", (), "192.0.2.2", PUBLIC, False),
        ("0.0.0.0", (), "0.0.0.0", PUBLIC, True),
        ("0.0.0.0", (), "evil.example", PUBLIC, False),
        ("::", (), "2001:db8:0:0::1", "2001:db8::1", True),
        ("::", (), "fe80::1", "fe80::1%lan0", True),
    ],
)
def test_known(
    listen: str,
    names: tuple[str, ...],
    host: str,
    local: str,
    known: bool,  # noqa: FBT001
) -> None:
    assert known_hosts(listen, lambda: names)(host, local) is known


def test_names_are_asked_for_at_each_request() -> None:
    names: list[str] = []
    known = known_hosts(PUBLIC, lambda: names)
    assert not known("gw.example", PUBLIC)
    names.append("gw.example")
    assert known("gw.example", PUBLIC)


def test_a_foreign_name_gets_no_page() -> None:
    async def page(_request: Request) -> Response:
        return Response.text(HTTPStatus.OK, "secret")

    routing = Routing({("GET", "/"): page}, known_hosts(PUBLIC, tuple))
    request = Request("GET", "/", "", {}, host="evil.example", local=PUBLIC)
    answer = asyncio.run(routing.respond(request))
    assert (answer.status, b"secret" in answer.body) == (421, False)
