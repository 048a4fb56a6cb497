# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces at whose hooks programs stand, each for itself.

Knows that they come, are exchanged and go a few at a time, and that an interface which
cannot be had holds up no other; does not know which these are (`eligible.py`), how the
kernel is told (`attachments/`), nor what programs do. One thread alone may change it,
but for `look` and `choose`, which any may that is waited for; `refused`, `index_of`,
and what is asked of an announcement, any may ask.
"""

import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from vpngate.errors import KernelRefused
from vpngate.kernel.bpf.plane_maps import Stand
from vpngate.kernel.programmed.attachments.attachment import Attachment, Standing
from vpngate.kernel.programmed.eligible import Eligible
from vpngate.kernel.programmed.programmed_table import ProgrammedTable
from vpngate.kernel.wire.links import Announcement, What
from vpngate.packets import HookPoint
from vpngate.ruleset import Ruleset

# Seconds a step: the kernel waits for all its processors at each that comes or goes.
_STEP = 0.02
_BARED = (What.FILTER_GONE, What.CLSACT_GONE)
_LOST = (What.LINK_GONE, What.CLSACT_GONE)


class _Attached(NamedTuple):
    at: int  # the interface's index
    header: int


class ProgramHooks:
    """The interfaces of one plane; see `table/hooks.py` for its twin."""

    def __init__(self, table: ProgrammedTable, attachment: Attachment) -> None:
        self._table = table
        self._attachment = attachment
        self._eligible = Eligible(table)
        self._attached: dict[str, _Attached] = {}
        self._names: dict[int, str] = {}  # of those, by index
        self._meant: frozenset[str] = frozenset()
        self._due: deque[str] = deque()  # that are to be looked after
        self._unseen: deque[str] = deque()  # whether programs stand there
        self._amiss = False  # whether one was put right that nobody was told of
        self._anew = False  # whether one was had that was not before
        self._leaving: deque[int] | None = None  # at last, by index

    @property
    def refused(self) -> Mapping[str, str]:
        """What cannot be had, and why."""
        return self._eligible.refused

    def index_of(self, name: str) -> int | None:
        """The index that an interface had at the last look."""
        return self._eligible.index_of(name)

    @property
    def largest_mtu(self) -> int:
        """Of all that are there, in bytes; 0 if none is."""
        devices = self._eligible.devices.values()
        return max((device.mtu for device in devices), default=0)

    def choose(self, ruleset: Ruleset) -> Ruleset:
        """The same ruleset, for those of its interfaces that can be had now."""
        self._eligible.choose(ruleset, self._standing())
        return replace(ruleset, interfaces=self._eligible.wanted())

    def headers(self, names: tuple[str, ...]) -> frozenset[int]:
        """The link headers that packets of these have; others are refused."""
        return self._eligible.headers(names)

    def look(self, ruleset: Ruleset) -> None:
        """Ask what `try_again` and `are_whole` will want to know.

        In any thread: what is urgent waits for nobody's answer.
        """
        self._eligible.look(ruleset, self._standing())

    def try_again(self, ruleset: Ruleset) -> bool:  # noqa: ARG002 - of the look
        """Whether any that was refused was free when it was looked."""
        return self._eligible.take_freed()

    def are_whole(self, ruleset: Ruleset) -> bool:  # noqa: ARG002 - of the look
        """Whether our programs stand at all interfaces that can be had.

        As far as there is time to ask: `stand_few` goes on, and puts right what it
        finds. Where an interface has gone there is nothing to put right.
        """
        standing = self._attached.items()
        gone = {name for name, each in standing if self.index_of(name) != each.at}
        wanted = self._eligible.wanted()
        whole = set(wanted) == self._attached.keys() - gone and not self._amiss
        self._amiss = False
        self._due.extend(gone | {name for name in self._attached if name not in wanted})
        self._unseen = deque(wanted if whole else ())
        end = time.monotonic() + _STEP
        while whole and self._unseen and time.monotonic() < end:
            whole = self._is_whole(self._unseen.popleft())
        return whole

    def stand(self, names: tuple[str, ...]) -> None:
        """Have the table's programs stand at these interfaces, and at no others.

        Begun with those that have some already, and done by `stand_few`. Where a dead
        daemon may have left some that are not taken over, these go, too.
        """
        self._meant = frozenset(names)
        seen = self._attached.keys() | self.refused.keys()
        gone = [name for name in seen if name not in self._meant]
        new = [name for name in names if name not in self._attached]
        known = [name for name in names if name in self._attached]
        self._due = deque((*known, *gone, *new))
        self._unseen.clear()
        self._eligible.chosen()
        self.stand_few()

    def stand_few(self) -> bool:
        """Go on with that, or a look, for a moment; whether more is to be done."""
        end = time.monotonic() + _STEP
        while self._due and time.monotonic() < end:
            self._settle(self._due.popleft())
        while self._unseen and time.monotonic() < end:
            name = self._unseen.popleft()
            if not self._is_whole(name):
                self._amiss = True
                self._settle(name)
        return bool(self._due or self._unseen)

    def look_again(self) -> bool:
        """Whether one was had since this was asked, or more were told of than asked.

        The next look asks them first.
        """
        anew, self._anew = self._anew or self._eligible.waiting, False
        return anew

    def leave_at(self, index: int) -> None:
        """Stand no longer at an interface that has gone from here, or is another's."""
        name = self._names.get(index)
        if name is not None:
            self._try_to_leave(name)

    @property
    def remain(self) -> bool:
        """Whether `leave_few` has more to do."""
        return self._leaving is None or bool(self._leaving)

    def leave_few(self) -> None:
        """Leave all interfaces for good, for a moment.

        What is raised is of one of them: the others have their turn all the same.
        """
        if self._leaving is None:
            refused = (self.index_of(name) for name in self.refused)
            there = (index for index in refused if index is not None)
            self._leaving = deque({*self._names, *self._attachment.kept, *there})
        end = time.monotonic() + _STEP
        while self._leaving and time.monotonic() < end:
            index = self._leaving.popleft()
            self._names.pop(index, None)
            self._attachment.vacate(index)

    def note(self, news: Announcement) -> bool:
        """Whether something may have come or gone where our programs stand.

        Then that interface is the first to be asked at the next look.
        """
        if news.what in _LOST:
            self._attachment.lost(news.index)
        name = self._names.get(news.index)
        if name is None:
            return False
        if news.what in self._attachment.announced:
            self._eligible.tell(name)
            return True
        return news.what is What.LINK_GONE or self.is_astray(news)

    def is_bared(self, news: Announcement) -> bool:
        """Whether somebody may have taken away what stood at an interface."""
        told = news.what in _BARED and news.what in self._attachment.announced
        return told and news.index in self._names

    def is_astray(self, news: Announcement) -> bool:
        """Whether programs stand at what lives on elsewhere, or has another name.

        With an interface that is deleted they go by themselves.
        """
        name, link = self._names.get(news.index), news.link
        if name is None or link is None:
            return False
        renamed = news.what is What.LINK and link.name != name
        return renamed or (news.what is What.LINK_GONE and link.moved)

    def _settle(self, name: str) -> None:
        device = self._eligible.devices.get(name)
        known = self._attached.get(name)
        meant = name in self._meant and not self._eligible.is_refused(name)
        if not meant or device is None:
            self._try_to_leave(name)
            return
        try:
            header = self._eligible.header_of(name)
            if header is None:
                self._try_to_leave(name)
                return
            if known and known.at != device.index:
                self._leave(name)
            self._attached[name] = _Attached(device.index, header)
            self._names[device.index] = name
            self._attachment.stand_at(device.index, self._programs(header))
            if known is None or known.at != device.index:
                self._eligible.tell(name)  # what came since it was asked
                self._anew = True
        except KernelRefused as error:
            self._try_to_leave(name)
            self._eligible.refuse({name: error.lines[0]})

    def _standing(self) -> dict[str, int]:
        return {name: known.at for name, known in self._attached.copy().items()}

    def _is_whole(self, name: str) -> bool:
        known = self._attached.get(name)
        if known is None or known.at != self.index_of(name):
            return False
        if self._attachment.stands_at(known.at, self._programs(known.header)):
            return True
        return not _is_at(name, known.at)  # it has gone since, which is announced

    def _programs(self, header: int) -> Standing:
        return {point: self._table.hooks[Stand(point, header)] for point in HookPoint}

    def _leave(self, name: str) -> None:
        """Also where a dead daemon has left programs that were not taken over.

        Not for good, unless nobody means the interface any more: it may be had again.
        """
        known = self._attached.get(name)
        index = known.at if known else self.index_of(name)
        if index is None:
            return
        self._names.pop(index, None)  # what goes from there now goes by our own hand
        try:
            if name in self._eligible.configured:
                self._attachment.leave(index)
            else:
                self._attachment.vacate(index)
        except KernelRefused:
            if known:
                self._names[index] = name
            raise
        self._attached.pop(name, None)

    def _try_to_leave(self, name: str) -> None:
        """It holds up no other; tried again at the next look."""
        with suppress(KernelRefused):
            self._leave(name)


def _is_at(name: str, index: int) -> bool:
    """Whether an interface has both at this moment, in this namespace."""
    try:
        return socket.if_nametoindex(name) == index
    except OSError:
        return False
