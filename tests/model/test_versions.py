"""Which versions are compatible, and which of two is older."""

from __future__ import annotations

import pytest

from durablecli.model.versions import VersionPolicy, compare_versions


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("1.9", "1.10", -1),
        ("2.0", "1.10", 1),
        ("1.0.1", "1.0", 1),
        ("1.0", "1.0", 0),
        (None, "1.0", -1),
        ("", None, 0),
        ("Beta", "beta", 0),
        ("alpha", "beta", -1),
    ],
)
def test_versions_have_an_order(one: str | None, other: str | None, order: int) -> None:
    assert compare_versions(one, other) == order
    assert compare_versions(other, one) == -order


@pytest.mark.parametrize(
    ("match", "taken"),
    [("none", [None, "1.0", "1.1", "2.0"]), ("strict", ["1.1"]), ("current_or_older", [None, "1.0", "1.1"])],
)
def test_code_takes_on_what_its_strategy_says(match: str, taken: list[str | None]) -> None:
    versions = VersionPolicy("1.1", match)
    assert [version for version in (None, "1.0", "1.1", "2.0") if versions.why_incompatible(version) is None] == taken


def test_code_without_a_version_accepts_every_version() -> None:
    assert VersionPolicy(None, "strict").why_incompatible("7") is None


def test_a_refusal_names_both_versions() -> None:
    assert VersionPolicy("1.1", "strict").why_incompatible(None) == (
        "its version is ''; the code has version '1.1' and runs only that version"
    )
