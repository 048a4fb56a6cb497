# SPDX-License-Identifier: GPL-2.0-or-later
"""`/check`: is my address registered, is a tunnel of it slowed, what can I do.

Knows who asks (behind trusted proxies, too), how often he may, and that what is slowed
is told to an address about itself alone, and not where any user of this machine could
ask in its name; nothing of a question is kept or logged (of
what fails, `Routing` tells the place alone). Does not know how anything is looked up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from netaddr import IPNetwork

from vpngate.errors import VpngateError
from vpngate.http.request_response import Request, Response
from vpngate.http.routing import PageHandler
from vpngate.packets import format_address
from vpngate.public.address_standing import AddressStanding
from vpngate.public.caller import caller_of, could_be_anybody
from vpngate.public.check_rate import CheckRate, share_of
from vpngate.public.question import AddressRange, about, parse_question
from vpngate.public.rendering import html
from vpngate.registry import Registration
from vpngate.timekeeping.moments import format_moment

FIELD = "address"
PATIENCE = 2.0  # seconds for an answer of the daemon or of a large registry
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 4
_SELDOM = 1.0  # seconds between two looks at who is to be forgotten
_TOO_MANY = Response.text(
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many questions at once. Try again in a minute.",
    Retry_After="60",
)

_Report = Callable[[], Awaitable[Mapping[str, Any]]]


class CheckAnswers(NamedTuple):
    """Where the answers come from.

    standing  of a range of addresses; of more than one it may take a second, and is
              asked for in a thread, one question at a time
    slowed    whether a tunnel of an address is slowed now
    trusted   the proxies of the configuration in force
    is_own    whether an address is one of this machine's
    """

    standing: Callable[[AddressRange], AddressStanding]
    slowed: Callable[[bytes], Awaitable[bool]]
    trusted: Callable[[], Sequence[IPNetwork]]
    is_own: Callable[[bytes], bool]


class _Asker(NamedTuple):
    """Who asks, None where that cannot be told; whether nobody else can be that."""

    address: bytes | None
    is_sure: bool


class CheckPage:
    """Answers GET with what there is to say of the caller, POST of what is typed."""

    def __init__(
        self,
        answers: CheckAnswers,
        report: _Report,
        rate: CheckRate | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`report` is the transparency report: what is in force now, and contacts."""
        self._answers = answers
        self._report = report
        self._rate = CheckRate() if rate is None else rate
        self._clock = clock
        self._turn = asyncio.Lock()
        self._forgetting: asyncio.TimerHandle | None = None

    def routes(self, path: str) -> dict[tuple[str, str], PageHandler]:
        """The handlers, by method and path."""
        return {("GET", path): self._answer, ("POST", path): self._answer}

    async def _answer(self, request: Request) -> Response:
        trusted = self._answers.trusted()
        caller = caller_of(request.peer, request.headers, trusted)
        whose = share_of(request.peer if caller is None else format_address(caller))
        answered = self._rate.take(whose, self._clock())
        if self._forgetting is None:
            self._forget_in_time()
        if not answered:
            return _TOO_MANY
        asker = _Asker(caller, self._is_sure(request, caller))
        if request.method != "POST":
            return await self._of_caller(asker)
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind.strip().lower() != _FORM:
            status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            return Response.text(status, f"send the form as {_FORM}")
        return await self._of_typed(asker, _typed(request.body))

    def _is_sure(self, request: Request, caller: bytes | None) -> bool:
        """Whether a caller is whom he is taken for, and no user of this machine."""
        is_own = self._answers.is_own
        if not could_be_anybody(request.peer, request.local, is_own):
            return True
        return caller is not None and caller == caller_of(request.peer, {}, ())

    def _forget_in_time(self) -> None:
        """Have nobody remembered for longer than is said, also if nobody else asks."""
        left = self._rate.forget(self._clock())
        if left is None:
            self._forgetting = None
        else:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_later(max(left, _SELDOM), self._forget_in_time)

    async def _of_caller(self, asker: _Asker) -> Response:
        if asker.address is None:
            return await self._page(HTTPStatus.OK, own=False, typed="")
        return await self._told(about(asker.address), asker, typed="")

    async def _of_typed(self, asker: _Asker, typed: str) -> Response:
        try:
            question = parse_question(typed)
        except ValueError as wrong:
            status = HTTPStatus.BAD_REQUEST
            return await self._page(status, own=False, typed=typed, wrong=str(wrong))
        if not question.is_address and not self._rate.take_dear(self._clock()):
            return _TOO_MANY
        return await self._told(question, asker, typed=typed)

    async def _told(
        self, question: AddressRange, asker: _Asker, *, typed: str
    ) -> Response:
        standing = await self._standing(question)
        own = question.is_address and question.first == asker.address
        slowed = None
        if own and not asker.is_sure:
            slowed = "untold"
        elif own:  # and never of another address
            slowed = await self._slowed(question.first, standing)
        found = standing.registration
        return await self._page(
            HTTPStatus.OK,
            own=own,
            typed=typed,
            question=question,
            kind=standing.kind.name.lower(),
            is_spared=standing.is_spared,
            slowed=slowed,
            registration=None if found is None else _shown(found),
            here=own and ip_address(question.first).is_loopback,
        )

    async def _standing(self, question: AddressRange) -> AddressStanding:
        if question.is_address:
            return self._answers.standing(question)
        async with asyncio.timeout(PATIENCE):
            await self._turn.acquire()
            # Nobody may wait for it any more, and the thread still be at it.
            looking = asyncio.ensure_future(
                asyncio.to_thread(self._answers.standing, question)
            )
            looking.add_done_callback(self._next)
            return await asyncio.shield(looking)

    def _next(self, looked: asyncio.Future[AddressStanding]) -> None:
        self._turn.release()
        if not looked.cancelled():
            looked.exception()  # told to whoever waits, and never by asyncio

    async def _slowed(self, own: bytes, standing: AddressStanding) -> str:
        if standing.is_spared:
            return "no"
        try:
            async with asyncio.timeout(PATIENCE):
                return "yes" if await self._answers.slowed(own) else "no"
        except (TimeoutError, VpngateError):
            return "unknown"

    async def _page(self, status: HTTPStatus, **shown: Any) -> Response:
        empty = dict.fromkeys(_SHOWN)
        report = await self._report()
        return html("check", status, report=report, **{**empty, **shown})


_SHOWN = (
    *("wrong", "question", "kind", "is_spared", "slowed", "registration", "here"),
)


def _typed(body: bytes) -> str:
    """What was typed into the form, "" if nothing."""
    try:
        fields = parse_qsl(
            body.decode("ascii", "replace"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        return ""
    return next((value for name, value in fields if name == FIELD), "")


def _shown(found: Registration) -> dict[str, Any]:
    moments = {
        "begins": found.valid_from,
        "ends": found.valid_until,
        "gone": found.gone_since,
        "stands_until": found.stands_until,
    }
    written = {
        name: None if moment is None else format_moment(round(moment))
        for name, moment in moments.items()
    }
    return {"id": found.id, "prefix": found.prefix, **written}
