# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything an HTTPS source can do wrong, one row each, against a real TLS server.

Each row is run twice. Alone: the fetch fails with the row's reason in one readable
line, within its time, and the registry kept on disk is not touched. With a good
mirror behind it: the mirror's registry is delivered, and the reason still told.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.asking import ask
from tests.faults.certificates import Authority
from tests.faults.misdeeds import ROWS, Row
from tests.faults.registry_server import RegistryServer
from tests.faults.scenes import GOOD, LIMITS, OTHER, PATH, SIGNATURE_PATH, Scene
from tests.faults.signing import Signer
from vpngate.feed import (
    Feed,
    FeedSettings,
    Fetched,
    LastGood,
    NoSourceAnswered,
    Store,
    Validators,
)

row = pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))


@pytest.fixture
def scene(
    server: RegistryServer, signer: Signer, authority: Authority, stranger: Authority
) -> Iterator[Scene]:
    with ExitStack() as later:
        url = server.url(PATH)
        scene = Scene(server, signer, GOOD, url, authority, stranger, later)
        server.publish(PATH, GOOD)
        scene.sign(signer.sign(GOOD))
        yield scene


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
        ask(Feed(settings(scene, authority)))

    (fault,) = caught.value.faults
    assert caught.value.reason == row.reason
    assert caught.value.lines == fault.lines
    assert len(fault.lines) == 1
    assert fault.lines[0].startswith(scene.url)
    assert row.words in fault.lines[0]
    assert fault.lines[0].isprintable()
    assert len(fault.lines[0]) < 3500
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

    answer = ask(Feed(settings(scene, authority, mirror.url(PATH))))

    assert isinstance(answer, Fetched)
    assert answer.data == OTHER  # the mirror's alone: never a union
    assert answer.source == mirror.url(PATH)
    assert [getattr(f, "reason", "") for f in answer.faults] == [row.reason]
    assert row.words in str(answer.faults[0])
