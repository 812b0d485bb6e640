"""The records of failed outcomes that an exception was raised for: rewind needs them if it ends the execution.

They are kept in the exception's own dictionary, as its class may refuse attributes or have one of any name.
"""

from __future__ import annotations

from durablecli.model.failures import find_cause
from durablecli.model.raw_attributes import get_dict

_OUTCOMES_KEY = "__durable_outcomes__"


def attach_outcomes(error: BaseException, outcomes: tuple[int, ...]) -> None:
    """Keep the records that an exception was raised for."""
    get_dict(error)[_OUTCOMES_KEY] = outcomes


def collect_causes(error: BaseException) -> tuple[int, ...]:
    """The records of every failed outcome in the cause chain of what ended the execution."""
    found: set[int] = set()
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        found.update(get_dict(link).get(_OUTCOMES_KEY, ()))
        link = find_cause(link)
    return tuple(sorted(found))
