# SPDX-License-Identifier: GPL-2.0-or-later
"""Classes that are made before somebody needs them.

Knows how many places should be ready for those in use; does not know whose they are.
One thread alone may use it.

For each new class the kernel walks one list of all classes there are, of all devices
(net/core/flow_offload.c). With few that is nothing, with 40,000 it takes between 1 and
10 ms, and a hundred new subscribers a second would not get theirs in time.
"""

from vpngate.kernel.shaping.classes import Classes
from vpngate.kernel.shaping.places import IfbPlaces

MANY = 1000  # places in use: with fewer a class is made in no time
_PART = 3  # for so many in use one is ready


class Spares:
    """Keeps places ready; a little at a time."""

    def __init__(self, places: IfbPlaces, classes: Classes) -> None:
        self._places = places
        self._classes = classes

    def advance(self, used: int) -> bool:
        """Make the classes of one more place, if `used` ask for it; whether to go on.

        Those that cannot be made now are made when they are needed, or the next time.
        """
        places, classes = self._places, self._classes
        places.spare = used // _PART if used >= MANY else 0
        if classes.waiting:
            return False
        if places.adjust():
            classes.make([places.ready[-1]])
            return classes.has(places.ready[-1])
        bare = next((one for one in places.ready if not classes.has(one)), None)
        if bare is None:
            return False
        classes.make([bare])
        return classes.has(bare)
