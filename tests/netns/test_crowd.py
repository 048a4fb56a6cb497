# SPDX-License-Identifier: GPL-2.0-or-later
"""A crowd at the pages, all from one address, keeps nobody out and delays nothing.

    silent, dripping, hasty ──┐
    honest ───────────────────┴── 127.0.0.1 ── the daemon's pages

As behind a proxy, the honest have the crowd's own address. That nothing is delayed is
read in the kernel: what is left of the dead man's time before it is set again.
"""

import http.client
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.lab.asked_kernel import left as left_of_it
from tests.lab.daemon import Daemon, daemon, enforcing_settings
from tests.lab.namespaces import PATIENCE
from tests.lab.topology import Lab

_ROOT = Path(__file__).parents[2]
_PROGRAM = ("env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.lab.crowd")
_HOST, _PORT = "127.0.0.1", 9753
_MOST_SECONDS = 300  # of a crowd; it is sent away when the honest have asked
_ROUNDS = 20
_ENOUGH_SECONDS = 40  # of asking: where each answer takes long, in fewer rounds
_PATHS = ("/", "/metrics", "/healthz")
_DEADMAN = 30.0  # seconds, as shipped; set again every 10
# A machine that is slower than the crowd has requests overdue, and whoever asks for a
# page asks again.
_CHANCES = 3
_AGAIN = 1.0  # seconds until the next one

_OK = "served"

Record = Callable[[str, object], None]


def _served(lab: Lab, path: str) -> list[str]:
    """What each request for a page came to, until one was served."""
    came_to = []
    for _ in range(_CHANCES):
        came_to.append(lab.gateway.call(partial(_ask, path)))
        if came_to[-1] == _OK:
            break
        time.sleep(_AGAIN)
    return came_to


def _ask(path: str) -> str:
    """What one request came to: `_OK`, or what was wrong."""
    connection = http.client.HTTPConnection(_HOST, _PORT, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer {path} {error!r}"
    finally:
        connection.close()
    return _OK if answer.status == HTTPStatus.OK else f"{answer.status} {path} {body!r}"


@pytest.fixture(scope="module")
def serving(lab: Lab) -> Iterator[Daemon]:
    settings = enforcing_settings(lab, "crowd")
    settings.change(gateway={"deadman": f"{_DEADMAN:.0f}s"})
    with daemon(lab.gateway, settings) as running:
        running.wait_until(
            lambda: bool(running.ask("status")["kernel"]["armed"]), "arming"
        )
        yield running


@pytest.mark.parametrize(
    "crowd",
    [
        ("silent=500",),
        ("dripping=300",),
        ("hasty=1000",),
        ("silent=500", "dripping=300", "hasty=1000"),
    ],
    ids="+".join,
)
def test_every_honest_request_is_served(
    lab: Lab, serving: Daemon, crowd: tuple[str, ...], record_property: Record
) -> None:
    command = (*_PROGRAM, _HOST, str(_PORT), str(_MOST_SECONDS), *crowd)
    answers, left, took = [], [], []
    with lab.gateway.running(*command) as callers:
        callers.expect("begun")
        enough = time.monotonic() + _ENOUGH_SECONDS
        for _ in range(_ROUNDS):
            for path in _PATHS:
                begin = time.monotonic()
                answers.append(_served(lab, path))
                took.append(time.monotonic() - begin)
            left.append(left_of_it(serving))
            if time.monotonic() > enough:
                break
        still_there = callers.exit_status is None
        callers.stop()
    unserved = [one for one in answers if one[-1] != _OK]
    record_property("served", f"{len(answers) - len(unserved)} of {len(answers)}")
    record_property("at_first", [one for one in answers if len(one) > 1])
    record_property("longest_wait_seconds", round(max(took), 3))
    record_property("least_left_of_deadman_seconds", min(left))
    record_property("crowd", callers.tail(1))
    assert still_there, "the crowd had gone before the honest had asked"
    assert not unserved, serving.process.tail(40)
    # Who has kept up with the crowd has served each at the first time of asking.
    if "left_out" not in callers.tail(1):
        assert [one for one in answers if len(one) > 1] == []
    # Missing one turn leaves less than two thirds of its time.
    assert min(left) > _DEADMAN / 3
    assert serving.ask("status")["healthy"]
