"""The words that users read: every change of them shows in the diff of a golden file."""

from __future__ import annotations

import pytest

from tests.golden import words


def test_help_and_messages_match_the_golden_file() -> None:
    assert words.FILE.read_text() == words.collect_words(), "accept the new words with: python -m tests.golden.words"


def test_help_fits_into_80_columns() -> None:
    for command, text in words.collect_helps().items():
        assert [line for line in text.splitlines() if len(line) > words.HELP_WIDTH] == [], command


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise ValueError(f"no such id: {id}")', ["no such id: {…}"]),
        ('"""A docstring is not a message."""', []),
        ('def f():\n    "Nor is this."', []),
        ('x = "key"', []),
        ('say("two words")', ["two words"]),
    ],
)
def test_texts_are_collected_without_docstrings(source: str, found: list[str]) -> None:
    assert list(words.texts(source)) == found
