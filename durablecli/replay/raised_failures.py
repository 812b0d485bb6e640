"""The records of failed outcomes that an exception was raised for: rewind needs them if it ends the execution.

They are kept in the exception's own dictionary, as its class may refuse attributes or have one of any name.
"""

from __future__ import annotations

from typing import Any

from durablecli.model.failures import cause_of

_DICT: Any = vars(BaseException)["__dict__"].__get__
_KEY = "__durable_outcomes__"


def note_outcomes(error: BaseException, outcomes: tuple[int, ...]) -> None:
    """Keep the records that an exception was raised for."""
    _DICT(error)[_KEY] = outcomes


def causes_of(error: BaseException) -> tuple[int, ...]:
    """The records of every failed outcome in the cause chain of what ended the execution."""
    found: set[int] = set()
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        found.update(_DICT(link).get(_KEY, ()))
        link = cause_of(link)
    return tuple(sorted(found))
