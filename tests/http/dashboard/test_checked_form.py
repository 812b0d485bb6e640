"""The values of forms: each wrong field gets a message that says where and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from durablecli.errors import UsageError
from durablecli.http.dashboard.checked_form import CheckedForm, InvalidForm, parse_json_text
from durablecli.http.dashboard.forms import FormValues


def make_form(**values: str) -> CheckedForm:
    return CheckedForm(FormValues(list(values.items())))


@pytest.mark.parametrize("text", ['{"a": [1, 2.50]}', '"Tokyo"', "12345678901234567890123", "null"])
def test_json_is_kept_as_it_was_typed(text: str) -> None:
    assert bytes(parse_json_text(text)).decode() == text


def test_an_empty_text_is_null() -> None:
    assert bytes(parse_json_text(" \n")) == b"null"


def test_json_on_several_lines_becomes_one_line() -> None:
    assert bytes(parse_json_text('{\n  "a": 1\n}')) == b'{"a":1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"a": 1,\n "b" 2}',
            "not JSON: line 2, column 6 at 2}: a colon is missing",
        ),
        ("[1, 2", "not JSON: line 1, column 6, at the end: a comma or a closing bracket is missing"),
        ("Tokyo", 'not JSON: line 1, column 1 at Tokyo: a value is missing; a text needs quotes: "Tokyo"'),
        ("{'a': 1}", "not JSON: line 1, column 2 at 'a': 1}: a key in double quotes is missing"),
        ('{"a": 1} x', "line 1, column 10 at x: there is more text after the value"),
        ('"ab', 'column 1 at "ab: the text that begins here has no closing quote'),
        ("[" * 300 + "]" * 300, "nested"),
        ("NaN", "JSON"),
    ],
)
def test_wrong_json_is_explained_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_json_text(text)
    assert message in str(caught.value)


def test_a_form_keeps_what_was_typed_and_notes_each_wrong_field() -> None:
    values = make_form(input="{", delay="soon", tags="a=1\r\nb", at="", yes="on", name=" ")
    assert bytes(values.json("input")) == b"null"
    assert values.due_time("delay", "at") is None
    assert values.tags("tags") == {}
    assert values.checked("yes")
    assert not values.checked("no")
    assert values.required("name") == ""
    assert set(values.errors) == {"input", "delay", "tags", "name"}
    with pytest.raises(InvalidForm):
        values.check()
    assert values.errors["tags"] == "invalid tag 'b'; use KEY=VALUE"
    assert values.text("delay") == "soon"


def test_tags_are_lines() -> None:
    assert make_form(tags=" team=blue\r\n\r\nday=a=b ").tags("tags") == {"day": "a=b", "team": "blue"}


def test_a_delay_and_a_time_exclude_each_other() -> None:
    values = make_form(delay="10m", at="2030-01-01")
    assert values.due_time("delay", "at") is None
    assert values.errors == {"at": "give either a delay or a time"}


def test_due_times() -> None:
    assert make_form(at="2030-01-01T09:00Z").due_time("delay", "at") == datetime(2030, 1, 1, 9, tzinfo=UTC)
    soon = make_form(delay=" 10m ").due_time("delay", "at")
    assert soon is not None
    assert timedelta(minutes=9) < soon - datetime.now(UTC) <= timedelta(minutes=10)
    values = make_form(delay="99999999999d")
    assert values.due_time("delay", "at") is None
    assert "delay" in values.errors


def test_only_offered_choices_are_accepted() -> None:
    values = make_form(policy="explode")
    assert values.choice("policy", ("fail", "skip"), "fail") == "fail"
    assert values.errors == {"policy": "choose one of fail, skip"}
