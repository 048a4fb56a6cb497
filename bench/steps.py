# SPDX-License-Identifier: GPL-2.0-or-later
"""Which steps of the kernel's thread took longest: by the clock, and on a processor.

Knows where steps are handed to that thread; does not know what they do.
"""

import heapq
import time
from typing import Any

from vpngate.kernel.live import LiveDataPlane


class Steps:
    """The longest steps of a data plane; `most` of them. From now on, until `leave`."""

    def __init__(self, plane: LiveDataPlane, most: int = 6) -> None:
        self._most = most
        self._longest: list[tuple[float, float, str]] = []
        self._lanes = plane._lanes  # noqa: SLF001
        settled = self._lanes._settled  # noqa: SLF001

        def watched(work: Any, *args: Any, **kwargs: Any) -> Any:
            begin, used = time.perf_counter(), time.thread_time()
            try:
                return settled(work, *args, **kwargs)
            finally:
                used = time.thread_time() - used
                self._note(time.perf_counter() - begin, used, work)

        self._lanes._settled = watched  # type: ignore[method-assign]  # noqa: SLF001

    def leave(self) -> None:
        """Watch no more."""
        del self._lanes._settled  # noqa: SLF001

    def _note(self, seconds: float, used: float, work: Any) -> None:
        name = getattr(work, "__name__", str(work))
        heapq.heappush(self._longest, (seconds, used, name))
        if len(self._longest) > self._most:
            heapq.heappop(self._longest)

    def longest(self) -> float:
        """Seconds of the longest one."""
        return max(self._longest)[0] if self._longest else 0.0

    def told(self) -> str:
        """Each with its milliseconds, and in brackets those on a processor."""
        steps = sorted(self._longest, reverse=True)
        self._longest.clear()
        return ", ".join(
            f"{name} {seconds * 1e3:.1f} ({used * 1e3:.1f})"
            for seconds, used, name in steps
        )
