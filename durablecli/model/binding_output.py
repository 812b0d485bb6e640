"""What an activity set on an output binding."""

from __future__ import annotations

import msgspec
from msgspec import Raw


class BindingOutput(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A value that an activity set on an output binding of type `type`. It is recorded but not sent.

    `value` is JSON. Of a large value it is only the beginning, as a string, and `size` is the size of all in bytes.
    """

    name: str
    type: str
    status: str
    value: Raw = Raw(b"null")
    size: int | None = None
