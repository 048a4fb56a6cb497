# SPDX-License-Identifier: GPL-2.0-or-later
"""A browser, and a gateway's pages to open in it; without Chromium all is skipped."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.devtools import CHROMIUM, Browser, Tab, browser
from tests.browser.showcase import Showcase, showcase
from tests.house import ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if shutil.which(CHROMIUM) is None:
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs chromium: make browser"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Tab]:
    opened = Tab(chromium)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def gateway() -> Iterator[Showcase]:
    with showcase() as shown:
        yield shown


@pytest.fixture(scope="session")
def axe() -> str:
    return (ROOT / ".browser" / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def pictures() -> Path:
    return Path(__file__).parent / "pictures"
