"""A bar with counts, rate and time left, as one line of text."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from math import ceil

from durablecli.durations import format_duration

_WINDOW = timedelta(seconds=30)
_MIN_SAMPLE_INTERVAL = timedelta(milliseconds=100)
_MIN_SPAN = timedelta(seconds=1)
_MAX_BAR_WIDTH = 30
_MIN_BAR_WIDTH = 8


class RateMeter:
    """How fast a count has grown in the last 30 seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[datetime, float]] = deque()

    def add(self, at: datetime, done: float) -> None:
        """Add the number of completed calls at a time. If the number has fallen, the rate is measured from here."""
        samples = self._samples
        if samples and done < samples[-1][1]:
            samples.clear()
        if len(samples) > 1 and at - samples[-2][0] < _MIN_SAMPLE_INTERVAL:
            samples.pop()
        samples.append((at, done))
        while len(samples) > 1 and at - samples[0][0] > _WINDOW:
            samples.popleft()

    def rate(self, now: datetime) -> float:
        """Return the growth per second up to now; 0.0 if it isn't known yet."""
        recent = [(at, done) for at, done in self._samples if now - at <= _WINDOW] or list(self._samples)[-1:]
        if not recent:
            return 0.0
        (since, before), (_, after) = recent[0], recent[-1]
        return (after - before) / max(now - since, _MIN_SPAN).total_seconds()


def format_rate(rate: float) -> str:
    """Format a rate in the unit that gives a whole number: `12/s`, `40/min` or `5/h`."""
    for factor, unit in ((1, "s"), (60, "min")):
        if rate * factor >= 1:
            return f"{rate * factor:,.0f}/{unit}"
    return f"{rate * 3600:,.0f}/h"


def format_counts(done: float, total: float, rate: float) -> str:
    """Format `345 of 1,000, 12/s, 55 s left`; without a rate and a time while there is none."""
    counted = f"{done:,.10g} of {total:,.10g}"
    if rate <= 0 or done >= total:
        return counted
    try:
        left = format_duration(timedelta(seconds=ceil((total - done) / rate)))
    except OverflowError:
        return f"{counted}, {format_rate(rate)}"
    return f"{counted}, {format_rate(rate)}, {left} left"


def draw_bar(done: float, total: float, text: str, width: int, *, plain: bool) -> str:
    """Draw a bar before a text, in at most `width` columns; only the text if there is no room for a bar."""
    room = min(_MAX_BAR_WIDTH, width - len(text) - 2)
    if room < _MIN_BAR_WIDTH or total <= 0:
        return text
    filled = int(room * min(max(done / total, 0.0), 1.0))
    full, empty = "#-" if plain else "█░"
    return f"{full * filled}{empty * (room - filled)}  {text}"
