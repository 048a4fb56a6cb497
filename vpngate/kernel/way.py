# SPDX-License-Identifier: GPL-2.0-or-later
"""The way to the slow class: the ifbs made, fitted, mended and taken down in steps.

Knows that nothing may be slowed while packets sent to an ifb are lost or do not fit
its queues; does not know rules, nor which interfaces packets come from.
"""

from vpngate.kernel.detour.throttled import Throttled
from vpngate.kernel.shaping.queueing import largest_packet
from vpngate.kernel.shaping.shaper import Shaper
from vpngate.kernel.table.switch import BROKEN, Switch
from vpngate.kernel.wire.links import Announcement, What

_GONE = (What.LINK_GONE, What.FILTER_GONE, What.CLSACT_GONE)


class Way:
    """The ifbs of one table, as verdicts and the switch need them.

    One thread alone may use it; `concerns`, `endangers` and `is_too_small` any.

    packet     bytes: the largest packet that interfaces hand over
    to_vacate  whether the ifbs go, once nothing waits there
    """

    def __init__(self, switch: Switch, shaper: Shaper, throttled: Throttled) -> None:
        self.packet = largest_packet(0)
        self.to_vacate = False
        self._switch = switch
        self._shaper = shaper
        self._throttled = throttled
        self._missing: list[int] = []  # ifbs that are to be made anew
        self._untold = False  # whether one was found missing by `advance`
        self._given_up: int | None = None  # whose verdicts are to be led anew
        self._unfit = False  # whether queues drop packets for their size
        self._to_remove = False  # whether the ifbs go now
        self._wanted = False

    def build(self, rate: int) -> None:
        """Make the first ifb; `rate` is each class's, in bit/s."""
        if self._to_remove:
            self.remove()
        self._shaper.begin(rate, self.packet)

    def remove(self) -> None:
        """Take all ifbs down at once, whatever waits there.

        On an error `advance` goes on with those that are left.
        """
        self._missing.clear()
        self.to_vacate, self._to_remove = False, True
        for number in self._shaper.there():
            self._throttled.classes.leave(number)
        self._shaper.remove_all()
        self._to_remove = False

    def fit(self, rate: int, *, wanted: bool) -> None:
        """Have the classes changed if rate or largest packet are no longer theirs.

        `wanted` is whether anything is to be slowed. A queue drops what is larger than
        the packets that it was made for: where these grow nothing is slowed until all
        queues have been changed.
        """
        self._wanted = wanted
        made_for = self._shaper.rate, self._shaper.packet
        if not wanted or (rate, self.packet) == made_for:
            return
        if self.packet > self._shaper.packet:
            self.break_off()
            self._unfit = True
        self._shaper.set(rate, self.packet)
        self._throttled.classes.change()

    def concerns(self, news: Announcement) -> bool:
        """Whether an ifb may have changed."""
        return news.index in self._shaper.indexes

    def endangers(self, news: Announcement) -> bool:
        """Whether packets forwarded to an ifb are lost from now, or may be.

        Also where announcements were lost: an ifb may be gone, and its index another's.
        """
        if news.what is What.UNKNOWN:
            return bool(self._shaper.indexes)
        if not self.concerns(news):
            return False
        down = news.link is not None and self._shaper.is_down(news.link)
        gone = news.what in _GONE
        return gone or (news.what is What.LINK and down)

    def is_too_small(self, mtu: int) -> bool:
        """Whether packets of that many bytes may not fit the queues."""
        return largest_packet(mtu) > self.packet

    def break_off(self) -> None:
        """Slow nothing from now on, until `advance` has mended the way."""
        self._switch.keep_off(BROKEN)

    def is_broken(self) -> bool:
        """Look whether an ifb is missing, or was since this was asked.

        Then it is broken off.
        """
        self._missing = self._lost()
        if self._missing:
            self.break_off()
        untold, self._untold = self._untold, False
        return untold or bool(self._missing)

    def advance(self) -> bool:
        """Do a little of what is left to do; whether more is.

        An ifb that is missing is made anew and verdicts led to it; then what was
        broken off goes on, but for packets larger than the queues let pass. Classes
        come last.
        """
        if self._to_remove:
            if there := self._shaper.there():
                self._throttled.classes.leave(max(there))
            self._to_remove = self._shaper.remove_next()
            return True
        if self._missing:
            number = self._missing[-1]
            if number != self._given_up:  # what one that is still there has counted
                self._throttled.lost(number)
                self._given_up = number
            self._shaper.build(number)
            self._given_up = None
            self._missing.pop()
            return True
        if self._throttled.move():
            return True
        if self._switch.is_kept_off(BROKEN) and not self._unfit:
            self._missing = self._lost()  # another one may be gone since
            if self._missing:
                self._untold = True
                return True
            self._switch.let(BROKEN, wanted=self._wanted)
        more = self._throttled.classes.advance()
        if self._unfit and not self._throttled.classes.waiting:
            self._unfit = False
            return True
        return more

    def make_ready(self) -> bool:
        """Make a class that somebody may soon need; whether others should be, too."""
        at_rest = self._wanted and not self._switch.is_kept_off(BROKEN)
        return at_rest and self._throttled.make_ready()

    @property
    def draining(self) -> list[int]:
        """The ifbs that go once nothing waits there."""
        return self._shaper.numbers if self.to_vacate else []

    def waiting(self, number: int) -> int:
        """Bytes that wait on an ifb."""
        return self._throttled.classes.backlog(number)

    def vacate(self) -> None:
        """Have the ifbs that nothing uses any more taken down (`advance`)."""
        if self.to_vacate:
            self._throttled.dismantled()
            self._missing.clear()
            self.to_vacate, self._to_remove = False, True

    def _lost(self) -> list[int]:
        return self._shaper.missing() if self._wanted else []
