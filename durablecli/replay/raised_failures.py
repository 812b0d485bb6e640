"""The records of failed outcomes for which an exception was raised. A rewind needs them if it ends the execution.

They are kept in the exception's own dictionary, because its class may refuse attributes or have one of any name.
"""

from __future__ import annotations

from durablecli.model.failures import find_cause
from durablecli.model.raw_attributes import get_dict

_OUTCOMES_KEY = "__durable_outcomes__"


def attach_outcomes(error: BaseException, outcomes: tuple[int, ...]) -> None:
    """Attach to an exception the records for which it is raised."""
    get_dict(error)[_OUTCOMES_KEY] = outcomes


def collect_causes(error: BaseException) -> tuple[int, ...]:
    """Return the records of every failed outcome in the cause chain of an exception."""
    found: set[int] = set()
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        found.update(get_dict(link).get(_OUTCOMES_KEY, ()))
        link = find_cause(link)
    return tuple(sorted(found))
