# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast and how busy the machine is at a moment: a fixed loop, again and again.

Knows one loop of the interpreter, and two clocks; does not know what is measured
besides.
"""

import time
from dataclasses import dataclass
from statistics import median

LOOPS = 40
_COUNT = 150_000  # a few milliseconds


@dataclass(frozen=True)
class Noise:
    """The loop's milliseconds by the clock, and those of them on a processor."""

    clock: tuple[float, ...]
    processor: tuple[float, ...]

    @property
    def middle(self) -> float:
        """Median milliseconds on a processor: the machine's phase."""
        return median(self.processor)

    @property
    def spread(self) -> float:
        """Nine of ten loops lie within so much, as a part of the median."""
        ordered = sorted(self.processor)
        tenth = len(ordered) // 20
        return (ordered[-1 - tenth] - ordered[tenth]) / self.middle

    @property
    def waited(self) -> float:
        """The part of the time that others had the processor."""
        return max(0.0, 1 - sum(self.processor) / sum(self.clock))


def noise(loops: int = LOOPS) -> Noise:
    """The loop, so often."""
    clock, processor = [], []
    for _ in range(loops):
        begin, used = time.perf_counter(), time.thread_time()
        _loop()
        processor.append((time.thread_time() - used) * 1e3)
        clock.append((time.perf_counter() - begin) * 1e3)
    return Noise(tuple(clock), tuple(processor))


def _loop() -> int:
    total = 0
    for number in range(_COUNT):
        total += number & 7
    return total
