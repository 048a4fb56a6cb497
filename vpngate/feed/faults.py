# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way a registry source, or the memory of it, can fail to deliver.

Knows the reasons (each a value of the metrics' `reason` label, so there are few and
they never change) and which of them may be gone a moment later; does not know how
they come about.
"""

from collections.abc import Iterable
from enum import StrEnum

from vpngate.errors import FeedFault, Problem, UnreadableInput, VpngateError


class Reason(StrEnum):
    """Why a source did not deliver. The values are metric labels: keep them."""

    TIMEOUT = "timeout"  # too slow to connect, to answer, or over all
    UNREACHABLE = "unreachable"  # no address, refused, reset
    TLS = "tls"  # the handshake failed for another reason than trust
    CERTIFICATE = "certificate"  # not trusted, expired, or for another host
    PROTOCOL = "protocol"  # what answered does not speak HTTP as it should
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    SERVER_ERROR = "server_error"  # 5xx, and 429: come back later
    HTTP_STATUS = "http_status"  # any other status that is not a registry
    REDIRECT = "redirect"  # to plain http, in a circle, or to nowhere
    CONTENT_TYPE = "content_type"
    CONTENT_ENCODING = "content_encoding"
    TRUNCATED = "truncated"  # ended before its stated end, or stated none
    TOO_LARGE = "too_large"  # as sent, or once expanded
    FILE_MISSING = "file_missing"
    FILE_UNREADABLE = "file_unreadable"  # permissions, a directory, a pipe, I/O
    FILE_CHANGING = "file_changing"  # somebody is writing it
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MALFORMED = "signature_malformed"
    SIGNATURE_WRONG = "signature_wrong"
    SIGNATURE_KEY = "signature_key"  # made with another key than the configured one
    SIGNATURE_OLDER = "signature_older"  # a replay of what was signed before
    STATE_CORRUPTED = "state_corrupted"
    STATE_UNREADABLE = "state_unreadable"
    STATE_UNWRITABLE = "state_unwritable"  # no space, no permission, no folder
    CANCELLED = "cancelled"  # the daemon stops or reloads


INVALID = "invalid"  # a registry that was read and is none

# Worth another try within the same fetch: a server that restarts, a registry that
# is being replaced between its two requests. All others are there to stay.
TRANSIENT = frozenset(
    {
        Reason.TIMEOUT,
        Reason.UNREACHABLE,
        Reason.PROTOCOL,
        Reason.SERVER_ERROR,
        Reason.TRUNCATED,
        Reason.FILE_MISSING,
        Reason.FILE_CHANGING,
        Reason.SIGNATURE_MISSING,
        Reason.SIGNATURE_WRONG,
    }
)


# What is about a registry that has not been seen, rather than about its content.
_UNREAD = frozenset(r.value for r in Reason if not r.value.startswith("signature"))


class NoSourceAnswered(FeedFault):
    """No source delivered; one line for each, in the order they were asked.

    `faults` are what each said; `reason` is that of the first, the one an operator
    wrote first because it matters most. Content that is wrong can be mended by its
    author (exit status 1); anything else could not even be read (2).
    """

    def __init__(self, faults: Iterable[VpngateError]) -> None:
        self.faults = tuple(faults)
        unread = all(reason_of(each) in _UNREAD for each in self.faults)
        self.exit_status = UnreadableInput.exit_status if unread else 1
        first = self.faults[0] if self.faults else None
        super().__init__(reason_of(first), "\n".join(map(str, self.faults)))


def reason_of(fault: VpngateError | None) -> str:
    """The metric label of any refusal: its own reason, or INVALID for content."""
    return str(getattr(fault, "reason", INVALID))


def fault(reason: Reason, where: str, what: str, remedy: str = "") -> FeedFault:
    """One source's failure: a reason, and one line of where, what, what to do."""
    return FeedFault(reason.value, Problem(where, what, remedy))


def given_up(where: str) -> FeedFault:
    """What ends a piece of work that was cancelled."""
    return fault(
        Reason.CANCELLED,
        where,
        "given up: vpngate was asked to stop, or to ask others",
    )
