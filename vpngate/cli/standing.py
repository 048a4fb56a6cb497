# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is registered or protected, for `classify`: nobody, a registry, a configuration.

Knows which of a configuration's sources are read (files; of a web server what the
state folder has as last good: nothing is fetched to look at a capture); does not judge
flows.
"""

from typing import TYPE_CHECKING

from vpngate.cli import complain
from vpngate.errors import Problem, UnreadableInput, VpngateError

if TYPE_CHECKING:
    from vpngate.config import Config
    from vpngate.registry import Registration, Registry
    from vpngate.snapshot import Snapshot
    from vpngate.timekeeping.moments import When


class Nobody:
    """No registry: nobody is registered, nobody protected."""

    def lookup(self, address: bytes, now: "When") -> None:
        """No registration."""

    def protects(self, address: bytes) -> bool:  # noqa: ARG002
        """Never."""
        return False


class Registered:
    """The registrations of a file that the guard takes; bad rows go to stderr."""

    def __init__(self, path: str, now: float) -> None:
        # Reading a registry takes libraries that most calls can do without.
        from vpngate.cli.inputs import read_registry
        from vpngate.supply.reading import insist

        self._registry = insist(read_registry(path, now).registry, path, now)

    def lookup(self, address: bytes, now: "When") -> "Registration | None":
        """The longest registration of an address that stands, None if none does."""
        return self._registry.lookup(address, now)

    def protects(self, address: bytes) -> bool:  # noqa: ARG002
        """Never: a registry protects nobody."""
        return False


def configured(path: str, now: float) -> "Snapshot":
    """What a daemon with that configuration would act on, without a machine.

    InvalidConfig or UnreadableInput if it is bad; UnreadableInput, or what stands
    against its sources, if there is no registry to be had.
    """
    from vpngate.attachment.machine import Machine
    from vpngate.cli.inputs import read_config
    from vpngate.snapshot import Snapshot, enabled_tunnels, stance_of

    config = read_config(path)
    registry = _registry(config, path, now)
    tunnels = enabled_tunnels(config)
    return Snapshot(config, tunnels, registry, Machine(), stance_of(config))


def _registry(config: "Config", path: str, now: float) -> "Registry":
    """The registry of the first source that has one, as far as that can be read here.

    What the state folder has stands for the web servers among them.
    """
    from vpngate.cli.inputs import last_good, supply_of
    from vpngate.feed.settings import LocalFile, parse_source

    where = f"{path}: registry.sources"
    here = [
        isinstance(parse_source(each), LocalFile) for each in config.registry.sources
    ]
    if not here[0]:
        last = last_good(supply_of(config, path, now))
        if last is not None:
            complain(f"{where}: {_LEFT_OUT}; {_counts(config)}")
            return last
        what = f"{_LEFT_OUT}, and there is no last good registry in {_state(config)}"
        if not any(here):
            remedy = "run the daemon first, or give --registry FILE"
            raise UnreadableInput(Problem(where, what, remedy))
        complain(f"warning: {where}: {what}")
    try:
        return _from_files(config, path, now)
    except VpngateError as failure:
        last = None
        if here[0] and not all(here):
            last = last_good(supply_of(config, path, now))
        if last is None:
            raise
        complain(*(f"warning: {line}; {_counts(config)}" for line in failure.lines))
        return last


def _from_files(config: "Config", path: str, now: float) -> "Registry":
    """The registry of the sources that are files, in their order."""
    from vpngate.cli import inputs
    from vpngate.feed.settings import LocalFile, parse_source

    files = tuple(
        source
        for source in config.registry.sources
        if isinstance(parse_source(source), LocalFile)
    )
    registry = config.registry.model_copy(update={"sources": files})
    of_files = config.model_copy(update={"registry": registry})
    standing, fault = inputs.standing(of_files, path, now)
    if fault is not None:
        complain(*(f"warning: {line}; not looked at" for line in fault.lines))
    return standing


_LEFT_OUT = "what is on a web server is not fetched here"


def _state(config: "Config") -> str:
    return str(config.registry.state)


def _counts(config: "Config") -> str:
    return f"the last good registry in {_state(config)} counts"
