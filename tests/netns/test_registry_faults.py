# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that can be wrong with a registry, one row each, against a whole daemon.

Each row is a reload that must not happen. It leaves the kernel's table, the tree, the
status and the last good registry on disk as they were, and is told four times: by the
command, in the log, in `status` and in the metrics, under one reason and no other.
Once what was wrong is mended, the next reload is taken.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.misdeeds import ROWS
from tests.lab.feeding import (
    HOLDERS,
    SENTINEL,
    Feeding,
    Page,
    feeding,
    newcomer,
    page,
)

_NO, _UNREAD = 1, 2  # exit status: the answer is no; what to answer was not to be read
_ENOUGH = 2**25  # bytes: nobody reads an endless body to its end
_BAD_ROWS = 10


@dataclass(frozen=True)
class Fault:
    """What is wrong, the label of the metric for it, and words of the line about it.

    status      what `vpngate reload` ends with
    complaints  how many lines it is told in
    """

    stage: Callable[[Feeding, ExitStack], object]
    reason: str
    words: str
    status: int = _NO
    complaints: int = 1


def altered(change: Callable[[Page], object]) -> Callable[[Feeding, ExitStack], object]:
    return lambda fed, _: fed.alter(change)


def content(data: bytes) -> Callable[[Feeding, ExitStack], object]:
    return lambda fed, _: fed.offer(data)


def having(**fields: Any) -> Callable[[Feeding, ExitStack], object]:
    return altered(lambda page: page.update(fields))


def adding(*prefixes: str) -> Callable[[Feeding, ExitStack], object]:
    more = [{"prefix": prefix, "registration": "R-9999"} for prefix in prefixes]
    return altered(lambda page: page["registrations"].extend(more))


def later_by(steps: int) -> Callable[[Feeding, ExitStack], object]:
    """Other content than what is in force, this far from its serial."""
    return altered(lambda page: page.update(serial=page["serial"] - 1 + steps))


def without_ten(page: Page) -> None:
    del page["registrations"][10:20]


def replayed(fed: Feeding, _: ExitStack) -> None:
    """What was published before, to the byte, and so was its signature."""
    old = fed.serial - 1
    fed.offer(json.dumps(page(old)).encode(), old)


def full_disk(fed: Feeding, later: ExitStack) -> None:
    fed.publish()
    later.enter_context(fed.full_disk())


GUARD = {
    "no registration": Fault(
        having(registrations=[]), "empty", "has no registration in force"
    ),
    "header only": Fault(
        content(b"prefix,registration\n"), "empty", "has no registration in force"
    ),
    "nothing at all": Fault(content(b""), "invalid", "header"),
    "no registry": Fault(content(b"\x00\x01\x02"), "invalid", "header"),
    "sentinel missing": Fault(
        altered(lambda page: page["registrations"].pop(0)),
        "sentinel_missing",
        f"sentinel {SENTINEL}: is not registered",
    ),
    "older serial": Fault(later_by(-1), "serial_older", "older than"),
    "serial used twice": Fault(later_by(0), "serial_reused", "like the one in use"),
    "serial gone": Fault(
        altered(lambda page: page.pop("serial")), "serial_missing", "has no serial"
    ),
    "another registry": Fault(
        having(registry="elsewhere"), "other_registry", "until now it was 'faults'"
    ),
    "expired": Fault(
        having(expires="2020-01-01T00:00:00Z"), "expired", "expired at 2020-01-01"
    ),
    "too many gone": Fault(altered(without_ten), "removed_too_many", "lacks 10 of"),
    "prefix too short, IPv4": Fault(
        adding("12.0.0.0/7"), "prefix_too_short", "12.0.0.0/7 as R-9999"
    ),
    "prefix too short, IPv6": Fault(
        adding("2600::/18"), "prefix_too_short", "2600::/18 as R-9999"
    ),
    "default route, IPv4": Fault(adding("0.0.0.0/0"), "default_route", "0.0.0.0/0 as"),
    "default route, IPv6": Fault(adding("::/0"), "default_route", "::/0 as"),
    "too many bad rows": Fault(
        adding(*(f"10.72.{n}.0/240" for n in range(_BAD_ROWS))),
        "invalid",
        f"{_BAD_ROWS} of",
        complaints=1 + _BAD_ROWS,
    ),
}
FEED = {
    name: Fault(
        lambda fed, later, name=name: later.enter_context(fed.misbehaving(ROWS[name])),  # type: ignore[misc]
        ROWS[name].reason.value,
        ROWS[name].words,
        _NO if ROWS[name].reason.startswith("signature") else _UNREAD,
    )
    for name in (
        "connection refused",
        "no TLS hello",
        "no answer",
        "slow loris, body",
        "slow loris, head",
        "closed unanswered",
        "404",
        "500",
        "truncated",
        "truncated gzip",
        "a page",
        "10 GB announced",
        "10 GB sent",
        "gzip bomb, file",
        "gzip bomb, coding",
        "redirect to http",
        "certificate not trusted",
        "certificate of another host",
        "certificate expired",
        "no TLS",
        "signature missing",
        "signature of another registry",
        "signature of another key",
        "another key under the same id",
        "trusted comment changed",
        "signature is a page",
        "registry changed",
    )
} | {
    "replayed": Fault(replayed, "signature_older", "before the registry that stands"),
    "disk full": Fault(full_disk, "state_unwritable", "No space left on device"),
}
FAULTS = GUARD | FEED


@pytest.fixture(scope="module")
def started() -> Iterator[Feeding]:
    """One daemon for all rows, its state on a disk that is soon full."""
    with feeding() as fed:
        small = f"mkdir {fed.state} && mount -t tmpfs -o size=256k tmpfs {fed.state}"
        with fed.running(small):
            yield fed


@pytest.fixture
def fed(started: Feeding) -> Feeding:
    """All is well, whatever the row before has come to."""
    started.publish()
    started.daemon.ask("reload")
    assert started.tree() == HOLDERS
    assert started.status()["last_refusal"] is None
    return started


def assert_reload_is_taken(fed: Feeding) -> None:
    """What is published now is in force, in tree, kernel and metrics."""
    begun = fed.metric("last_load_success_timestamp_seconds")
    refused = fed.refusals()
    assert fed.reload().status == 0
    assert fed.status()["serial"] == fed.serial
    assert fed.status()["last_refusal"] is None
    assert fed.metric("serial") == fed.serial
    assert fed.metric("last_load_successful") == 1
    assert fed.metric("last_load_success_timestamp_seconds") > begun
    assert fed.refusals() == refused
    assert fed.spares(newcomer(fed.serial))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_fault_leaves_everything_and_is_told(fed: Feeding, fault: Fault) -> None:
    before, refused = fed.standing(), fed.refusals()
    loaded = fed.metric("last_load_success_timestamp_seconds")
    said, sent = len(fed.daemon.process.output()), fed.server.sent
    with ExitStack() as later:
        fault.stage(fed, later)
        ending = fed.reload()
        # Nothing has happened ...
        assert fed.standing() == before
        assert fed.spares(SENTINEL)
        assert not fed.spares("192.0.2.0/24")
        # ... and that is told: by the command,
        assert ending.status == fault.status
        assert ending.stdout == ""
        assert len(ending.complaints) == fault.complaints
        assert all(line.startswith("vpngate: ") for line in ending.complaints)
        lines = [line.removeprefix("vpngate: ") for line in ending.complaints]
        assert fault.words in lines[0]
        # in the log,
        log = fed.daemon.process.output()[said:]
        logged = [line.partition("daemon: reload: ")[2] for line in log.splitlines()]
        assert [line for line in logged if line] == lines
        assert "Traceback" not in log
        # in the status,
        assert fed.told()["last_refusal"] == lines[0]
        # and in the metrics, as one load refused for one reason.
        counted = refused | {fault.reason: refused.get(fault.reason, 0.0) + 1}
        assert fed.refusals() == counted
        assert fed.metric("last_load_successful") == 0
        assert fed.metric("last_load_success_timestamp_seconds") == loaded
        assert fed.daemon.metric("vpngate_config_last_reload_successful") == 1
    fed.publish()
    assert_reload_is_taken(fed)
    assert fed.server.sent - sent < _ENOUGH


def test_removals_are_taken_on_a_persons_word(fed: Feeding) -> None:
    """... and who is gone keeps standing for the time of grace."""
    gone = page(0)["registrations"][10]["prefix"]
    count = fed.daemon.metric("vpngate_registry_prefixes")
    fed.alter(without_ten)
    assert fed.reload().status == _NO
    assert fed.reload("--accept-removals").status == 0
    assert fed.metric("last_load_successful") == 1
    assert fed.status()["last_refusal"] is None
    assert fed.daemon.metric("vpngate_registry_prefixes") == count + 1 - 10
    assert fed.spares(gone)
    fed.serial += 1
    fed.publish()
    assert_reload_is_taken(fed)


def test_one_bad_row_ends_nobodys_registration(fed: Feeding) -> None:
    """The rest is taken; whom the bad row was about stands as before, without grace."""
    spoilt = {"prefix": SENTINEL.replace("/", "\\"), "registration": "R-0"}
    said, refused = len(fed.daemon.process.output()), fed.refusals()
    fed.settings.change(registry={"sentinels": [], "removal_grace": "0s"})
    fed.alter(lambda page: page["registrations"].__setitem__(0, spoilt))
    fed.serial += 1
    ending = fed.reload()
    assert ending.status == 0
    assert ending.complaints == []
    assert fed.tree() == HOLDERS
    assert fed.spares(SENTINEL)
    assert fed.spares(newcomer(fed.serial))
    assert fed.metric("rows_rejected") == 1
    assert fed.metric("last_load_successful") == 1
    assert fed.refusals() == refused
    (line,) = (
        line
        for line in fed.daemon.process.output()[said:].splitlines()
        if "the row is left out" in line
    )
    assert spoilt["prefix"].replace("\\", "\\\\") in line
    fed.settings.change(registry={"sentinels": [SENTINEL], "removal_grace": "72h"})
    fed.publish()
    assert_reload_is_taken(fed)
    assert fed.metric("rows_rejected") == 0
