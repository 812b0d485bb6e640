"""Texts of the Durable Task protocol as payloads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from durablecli.model.boxed_text import from_text, is_boxed, to_text
from durablecli.model.payloads import decode, encode, to_displayable


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_a_text_comes_back_as_it_was(text: str) -> None:
    payload = from_text(text)
    assert b"\n" not in bytes(payload)
    json.loads(bytes(payload))  # raises if a history couldn't hold it
    assert to_text(payload) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("null", None),
        ("", ""),
        ("5", 5),
        ('"a"', "a"),
        (" 5 ", 5),
        ('{\n"a": 1}', {"a": 1}),
        ("blob:v1:abc", "blob:v1:abc"),
        ("NaN", "NaN"),
        ('{"$text":"a"}', {"$text": "a"}),
    ],
)
def test_local_code_gets_the_json_of_a_text_and_else_the_text(text: str | None, value: object) -> None:
    payload = from_text(text)
    assert decode(payload) == value
    assert json.loads(bytes(to_displayable(payload))) == value
    assert to_text(payload) == text


def test_no_text_empty_text_and_null_are_told_apart() -> None:
    assert len({bytes(from_text(text)) for text in (None, "", "null")}) == 3


@pytest.mark.parametrize("value", [{"$text": "a"}, {"$text": 5}, {"$text": "a", "b": 1}, {"a": {"$text": "b"}}])
def test_a_value_of_local_code_that_looks_like_a_box_keeps_its_meaning(value: object) -> None:
    payload = encode(value)
    assert decode(payload) == value
    text = to_text(payload)
    assert text is not None
    assert json.loads(text) == value


def test_a_box_that_is_given_as_raw_stays_one() -> None:
    payload = from_text("any text")
    assert is_boxed(payload)
    assert encode(payload) == payload


def test_deeply_nested_json_is_boxed() -> None:
    text = "[" * 500 + "]" * 500
    assert is_boxed(from_text(text))
    assert to_text(from_text(text)) == text
    assert to_text(Raw(b"null")) is None
