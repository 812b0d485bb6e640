"""Whether code of one version goes on with an orchestration of another, as Durable Functions decides it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_match_numbers = re.compile(r"[0-9]+(?:\.[0-9]+){1,3}").fullmatch


@dataclass(frozen=True)
class VersionPolicy:
    """The version of the code, which orchestrations it takes on, and whether the others fail or wait.

    `match` is none (all), strict (of this very version) or current_or_older. Without a version all are taken on.
    """

    current: str | None = None
    match: str = "none"
    fail_on_mismatch: bool = False

    def why_incompatible(self, version: str | None) -> str | None:
        """Why an orchestration of this version isn't taken on; None if it is."""
        if self.current is None or self.match == "none":
            return None
        order = compare_versions(version, self.current)
        if order == 0 or (order < 0 and self.match == "current_or_older"):
            return None
        accepted = "only that version" if self.match == "strict" else "that version and older ones"
        return f"its version is '{version or ''}'; the code has version '{self.current}' and runs {accepted}"


ANY_VERSION = VersionPolicy()


def compare_versions(one: str | None, other: str | None) -> int:
    """Negative if the first is older. `1.10` is newer than `1.9`; what are no numbers are compared as text."""
    first, second = one or "", other or ""
    if _match_numbers(first) and _match_numbers(second):
        return _compare([int(part) for part in first.split(".")], [int(part) for part in second.split(".")])
    return _compare(first.casefold(), second.casefold())


def _compare(one: list[int] | str, other: list[int] | str) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]  # both are of one kind
