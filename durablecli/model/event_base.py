"""The base of all events, and the parts that they share."""

from __future__ import annotations

import msgspec
from msgspec import Raw

NULL = Raw(b"null")
ABSENT = Raw()
"""No payload: falsy, and left out of the line. `Raw | None` can't be decoded: it accepts only null."""


class Event(msgspec.Struct, frozen=True, tag=True, tag_field="type", omit_defaults=True, gc=False):
    """The base of all kinds. Its name is in the line as `type`."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """The decision that an arrival in another instance belongs to: instance, execution and `n`."""

    instance: str
    execution: str
    n: int
