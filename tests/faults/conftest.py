# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the feed share: an authority, servers, a signer.

Everything listens on loopback, on ports the kernel picks.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.certificates import Authority
from tests.faults.registry_server import RegistryServer
from tests.faults.signing import Signer


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of the same name that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def server(authority: Authority) -> Iterator[RegistryServer]:
    with RegistryServer(authority.context("localhost", "127.0.0.1")) as running:
        yield running


@pytest.fixture
def mirror(authority: Authority) -> Iterator[RegistryServer]:
    """A second server, which behaves."""
    with RegistryServer(authority.context("localhost", "127.0.0.1")) as running:
        yield running


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"
