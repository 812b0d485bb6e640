"""A failure as it is recorded: what was raised, where, and what caused it."""

from __future__ import annotations

import msgspec


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One exception and its cause chain.

    `type` is the qualified name (`builtins.ValueError`); `bases` the qualified names of the rest of its MRO,
    without `object`; `traceback` at most 64 KiB of text.
    """

    type: str
    message: str
    bases: tuple[str, ...] = ()
    traceback: str = ""
    cause: Failure | None = None
