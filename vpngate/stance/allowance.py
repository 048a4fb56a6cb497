# SPDX-License-Identifier: GPL-2.0-or-later
"""A time that was allowed, and what is left of it whatever is done to the clocks.

Knows the two clocks of a machine and that one of them is set by people; does not read
either, nor know what ends with the time.
"""

from typing import NamedTuple

from vpngate.timekeeping.clock import Reading


class Allowance(NamedTuple):
    """So many seconds from an instant on.

    begun    what the machine's clocks said then
    seconds  how many
    """

    begun: Reading
    seconds: float

    @property
    def wall(self) -> float:
        """When it ends, in seconds since the epoch, if nobody sets the clock."""
        return self.begun.wall + self.seconds

    def is_of_another_boot(self, at: Reading) -> bool:
        """Whether the machine was started again since, after who knows how long."""
        return at.boot != self.begun.boot or at.uptime < self.begun.uptime

    def ends_no_later(self, than: "Allowance") -> bool:
        """Whether it is over first: by the clock that nobody sets, if that can say."""
        if self.begun.boot == than.begun.boot:
            one, other = self.begun.uptime, than.begun.uptime
            return one + self.seconds <= other + than.seconds
        return self.wall <= than.wall

    def left(self, at: Reading) -> float:
        """Seconds left by the clock that nobody sets; none after another boot."""
        if self.is_of_another_boot(at):
            return 0.0
        return self.begun.uptime + self.seconds - at.uptime

    def left_by_either(self, at: Reading) -> float:
        """Seconds left by whichever clock says that there are fewer.

        After another boot there is no more than what the machine has not been up for,
        and nothing where the wall clock says that it has not even begun.
        """
        by_wall = self.wall - at.wall
        if not self.is_of_another_boot(at):
            return min(by_wall, self.left(at))
        if at.wall < self.begun.wall:
            return 0.0
        return min(by_wall, self.seconds - at.uptime)
