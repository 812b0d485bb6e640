"""Progress that code reports while it runs: live, and never recorded."""

from __future__ import annotations

from datetime import datetime
from math import isfinite
from numbers import Integral, Real

import msgspec

MAX_MESSAGE_LENGTH = 200
"""Characters of a message; the rest of a longer one is cut off."""
_MAX_INTEGER = 2**63 - 1


class ReportedProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much is done, of `total` if that is known, and when that was reported. `message` says what is being done."""

    done: int | float
    at: datetime
    total: int | float | None = None
    message: str | None = None

    @property
    def fraction(self) -> float | None:
        """The part that is done, from 0 to 1; None if the total is unknown or 0."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else None


def make_progress(done: object, total: object, message: object, at: datetime) -> ReportedProgress:
    """Make a report of what was given; raises TypeError or ValueError for anything but finite numbers and a text."""
    if message is not None and not isinstance(message, str):
        raise TypeError(f"the message of progress must be a string, not {type(message).__name__}")
    text = None if message is None else message[:MAX_MESSAGE_LENGTH].encode(errors="replace").decode()
    return ReportedProgress(
        _check_number(done, "done"), at, None if total is None else _check_number(total, "total"), text
    )


def _check_number(given: object, what: str) -> int | float:
    if type(given) is int and -_MAX_INTEGER <= given <= _MAX_INTEGER:
        return given
    if isinstance(given, bool) or not isinstance(given, Real):
        raise TypeError(f"`{what}` of progress must be a number, not {type(given).__name__}")
    try:
        if isinstance(given, Integral) and abs(int(given)) <= _MAX_INTEGER:
            return int(given)
        number = float(given)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise ValueError(f"`{what}` of progress must be a finite number")
    return number
