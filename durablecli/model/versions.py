"""Version matching: whether code of one version runs an orchestration of another, by the rules of Durable Functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

_match_numbers = re.compile(r"[0-9]+(?:\.[0-9]+){1,3}").fullmatch


@dataclass(frozen=True)
class VersionPolicy:
    """The version of the code, which orchestrations it runs, and whether the others fail or wait.

    `match` is none (all), strict (of this version) or current_or_older. Without a version all run.
    """

    current: str | None = None
    match: str = "none"
    fail_on_mismatch: bool = False

    def why_incompatible(self, version: str | None) -> str | None:
        """Return why an orchestration of this version doesn't run; None if it does."""
        if self.current is None or self.match == "none":
            return None
        order = compare_versions(version, self.current)
        if order == 0 or (order < 0 and self.match == "current_or_older"):
            return None
        accepted = "only that version" if self.match == "strict" else "that version and older ones"
        return f"its version is '{version or ''}'; the code has version '{self.current}' and runs {accepted}"


ANY_VERSION = VersionPolicy()


def compare_versions(one: str | None, other: str | None) -> int:
    """Return a negative number if the first is older. `1.10` is newer than `1.9`; others are compared as text."""
    first, second = one or "", other or ""
    if _match_numbers(first) and _match_numbers(second):
        return _compare([int(part) for part in first.split(".")], [int(part) for part in second.split(".")])
    return _compare(first.casefold(), second.casefold())


def _compare(one: list[int] | str, other: list[int] | str) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]  # both are of one kind
