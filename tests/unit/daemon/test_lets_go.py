# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry goes once another has taken its place, without an old circle collected.

The collector passes by whatever was there at a minute's turn (`garbage.py`). So what
goes on through one must not end as a circle that has a registry.
"""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.desk import Desk
from tests.unit.daemon.gatehouse import REGISTRY, Gatehouse
from vpngate.daemon import garbage
from vpngate.errors import KernelRefused, VpngateError
from vpngate.kernel.dryrun import DryRunDataPlane
from vpngate.registry import Registry
from vpngate.ruleset import Ruleset

Gone = list["weakref.ref[Registry]"]


class Slow(DryRunDataPlane):
    """Lets a minute pass in a replace that fails, if it is told to."""

    failing = False

    async def replace(self, ruleset: Ruleset) -> None:
        if self.failing:
            garbage.collect_young()
            raise KernelRefused(f"table {ruleset.table}: no memory")
        await super().replace(ruleset)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    threshold = gc.get_threshold()
    yield Desk(tmp_path)
    gc.set_threshold(*threshold)
    gc.unfreeze()


def rows(number: int) -> str:
    return REGISTRY + "".join(f"198.51.{n}.0/24,R-{n}\n" for n in range(number))


async def failed_fetch(desk: Desk, gatehouse: Gatehouse, number: int) -> None:
    """A source has nonsense, and a minute passes while it is asked."""
    keeper, go_on = gatehouse.fetches.keeper, threading.Event()
    fetch, begun = keeper.fetch, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(*arguments: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        return fetch(*arguments, **options)

    keeper.fetch = slow  # type: ignore[method-assign]
    desk.registry.write_text(f"nonsense {number}")
    reload = asyncio.create_task(desk.reloader.reload())
    await begun.wait()
    garbage.collect_young()
    go_on.set()
    with pytest.raises(VpngateError):
        await reload
    del reload  # it has the error, which has this frame
    keeper.fetch = fetch  # type: ignore[method-assign]


async def failed_change(desk: Desk, gatehouse: Gatehouse, number: int) -> None:
    """The kernel does not take it, and a minute passes meanwhile."""
    assert isinstance(gatehouse.plane, Slow)
    gatehouse.plane.failing = True
    desk.registry.write_text(rows(number + 1))
    with pytest.raises(KernelRefused):
        await desk.reloader.reload()
    gatehouse.plane.failing = False


@pytest.mark.parametrize("fail", [failed_fetch, failed_change])
def test_what_fails_keeps_no_registry(desk: Desk, fail: Any) -> None:
    async def scenario() -> None:
        gatehouse = await desk.open(Slow())
        garbage.begin()
        gone: Gone = []
        for number in range(1, 4):
            desk.registry.write_text(rows(number))
            await desk.reloader.reload()
            gone.append(weakref.ref(gatehouse.current.snapshot.registry))
            await fail(desk, gatehouse, number)
        garbage.collect_young()
        assert [each() is None for each in gone] == [True, True, False]

    asyncio.run(scenario())
