# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed from one configuration to the next, and whether it may live.

Knows which keys a running daemon can take over (warm) and which need a restart
(cold, each with its reason); does not know how a change is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from vpngate.config.sections import Config
from vpngate.errors import Problem

# Everything else is warm.
COLD = {
    "gateway.side": "every live verdict is written for the other side",
    "gateway.plane": "one plane is taken down before another stands",
    "gateway.table": "the table is owned from start to end",
    "gateway.hook_priority": "a hook is attached once",
    "capture.source": "the capture is opened once",
    "capture.nflog_group": "the capture is opened once",
    "registry.state": "the last good registry is kept there",
    "throttle.subscriber_prefix": "every live verdict belongs to a subscriber's class",
    "throttle.max_flows": "the maps are made with their size",
    "http.listen": "the server is bound once",
    "http.metrics_listen": "the server is bound once",
}


class Reload(StrEnum):
    """How much of the daemon a changed configuration concerns."""

    NOTHING = "nothing"
    WARM = "warm"
    COLD = "cold"


@dataclass(frozen=True)
class Changes:
    """The keys that differ, dotted, in the order of the file."""

    keys: tuple[str, ...]

    @property
    def reload(self) -> Reload:
        """The kind of the most demanding change."""
        if not self.keys:
            return Reload.NOTHING
        return Reload.COLD if any(key in COLD for key in self.keys) else Reload.WARM

    def problems(self, where: str) -> tuple[Problem, ...]:
        """Why a reload has to be refused: one problem for each cold key."""
        return tuple(
            Problem(f"{where}: {key}", f"cannot change live ({COLD[key]})", _REMEDY)
            for key in self.keys
            if key in COLD
        )


_REMEDY = "restart vpngate, or put the old value back; nothing was changed"


def changes(old: Config, new: Config) -> Changes:
    """What a reload from `old` to `new` would change."""
    return Changes(tuple(_differing(old, new)))


def _differing(old: Config, new: Config) -> Iterator[str]:
    for section in Config.model_fields:
        one, other = getattr(old, section), getattr(new, section)
        for key in type(one).model_fields:
            if getattr(one, key) != getattr(other, key):
                yield f"{section}.{key}"


def without_more(old: Config, new: Config) -> Config:
    """The new configuration as far as it slows nobody whom the old one does not.

    What either protects is protected. Mode and share are the stance's matter.
    """
    return _protecting_both(old, new, in_all_else=new)


def with_less(old: Config, new: Config) -> Config:
    """The old configuration, but for what the new one says against slowing.

    What either protects is protected; the old one itself if that is the same. Mode and
    share are the stance's matter.
    """
    less = _protecting_both(old, new, in_all_else=old)
    return old if less == old else less


def _protecting_both(old: Config, new: Config, *, in_all_else: Config) -> Config:
    first, then = (new, old) if in_all_else is new else (old, new)
    both = dict.fromkeys((*first.protect.prefixes, *then.protect.prefixes))
    protect = in_all_else.protect.model_copy(update={"prefixes": tuple(both)})
    return in_all_else.model_copy(update={"protect": protect})
