"""Counts for Prometheus, in its text format 0.0.4."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

__all__ = ["Metrics"]

# Upper bounds of the histogram of times, seconds.
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Requests by operation and status, and how long they took; used by the event loop alone."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._times: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def count(self, operation: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests[operation, status] += 1
        buckets = self._times.setdefault(operation, [0] * (len(_BOUNDS) + 1))
        buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._sums[operation] = self._sums.get(operation, 0.0) + seconds

    def text(self, now: Mapping[str, tuple[str, float]]) -> str:
        """All that was counted, and values of now with their meanings, by their names."""
        lines = [
            "# HELP soundsearch_requests_total Requests that were answered.",
            "# TYPE soundsearch_requests_total counter",
        ]
        for (operation, status), count in sorted(self._requests.items()):
            named = f'{{operation="{operation}",status="{status}"}}'
            lines.append(f"soundsearch_requests_total{named} {count}")
        name = "soundsearch_request_seconds"
        lines += [f"# HELP {name} Time to an answer.", f"# TYPE {name} histogram"]
        for operation, buckets in sorted(self._times.items()):
            total = 0
            for bound, count in zip((*_BOUNDS, "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'{name}_bucket{{operation="{operation}",le="{bound}"}} {total}')
            lines.append(f'{name}_sum{{operation="{operation}"}} {self._sums[operation]:.6f}')
            lines.append(f'{name}_count{{operation="{operation}"}} {total}')
        for name, (meaning, value) in now.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP soundsearch_{name} {meaning}", f"# TYPE soundsearch_{name} {kind}"]
            lines.append(f"soundsearch_{name} {value:g}")
        return "\n".join([*lines, ""])
