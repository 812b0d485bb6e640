"""Checks names and times where they are given, so that the author's call fails, not the engine.

A record that UTF-8 or JSON can't hold would stop the engine at every commit. A subclass of str or datetime would be
another value when read back, so the plain value is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from durablecli.errors import BadName, UsageError
from durablecli.limits import MAX_NAME_LENGTH, MAX_TAG_KEY_LENGTH, MAX_TAGS

_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_name(given: object, what: str) -> str:
    """Return the name of `what` as a plain str: not empty, at most 256 characters, valid Unicode; raises BadName."""
    if not isinstance(given, str) or not given:
        raise BadName(f"the name of {what} must be a non-empty string")
    return _check_length(_check_text(given, f"the name of {what}"), f"the name of {what}")


def check_one_line_name(given: object, what: str) -> str:
    """Return the name of `what`, by the rules of check_name and without control characters."""
    return _check_line(check_name(given, what), f"the name of {what}", MAX_NAME_LENGTH)


def check_operation_name(given: object) -> str:
    """Return the name of an entity operation, by the rules of check_name; it may be empty, as in Azure's apps."""
    return _check_length(_check_text(given, "the name of an operation"), "the name of an operation")


def check_version(given: object) -> str | None:
    """Return a version as a plain str, by the rules of check_name, or None. It may be empty."""
    return None if given is None else _check_length(_check_text(given, "a version"), "a version")


def check_tags(given: object) -> dict[str, str]:
    """Return tags as a plain dict, sorted by key; raises BadName or UsageError for what can't be a tag.

    There are at most 32. A key has 1 to 128 characters and no `=`; a value has up to 256. Neither holds control
    characters, so that a tag is always one line.
    """
    if not given:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(f"tags are a mapping of strings to strings, not {type(given).__name__}")
    tags = dict(sorted(_check_tag(key, value) for key, value in given.items()))
    if len(tags) > MAX_TAGS:
        raise UsageError(f"there are {len(tags)} tags, at most {MAX_TAGS} are allowed")
    return tags


def _check_tag(key: object, value: object) -> tuple[str, str]:
    if not isinstance(key, str) or not key:
        raise BadName("the key of a tag must be a non-empty string")
    name = _check_line(_check_text(key, "the key of a tag"), "the key of a tag", MAX_TAG_KEY_LENGTH)
    if "=" in name:
        raise BadName(f"the key of a tag can't contain '=': {name!r}")
    what = f"the value of tag '{name}'"
    return name, _check_line(_check_text(value, what), what, MAX_NAME_LENGTH)


def check_label(given: object) -> str | None:
    """Return the name that an orchestrator gives to a call, or None: one line of at most 256 characters."""
    if given is None:
        return None
    return _check_line(_check_text(given, "the name of a call"), "the name of a call", MAX_NAME_LENGTH) or None


def check_reason(given: object) -> str:
    """Return the reason given for an operation on an instance: any text of any length."""
    return _check_text(given, "a reason")


def check_time(given: object, what: str) -> datetime:
    """Return a time as a plain datetime in UTC; naive ones are UTC."""
    if not isinstance(given, datetime):
        raise TypeError(f"{what} is a datetime, not {type(given).__name__}")
    try:
        at = datetime(
            given.year, given.month, given.day, given.hour, given.minute, given.second, given.microsecond,
            given.tzinfo, fold=given.fold,
        )  # fmt: skip
        return (at.replace(tzinfo=UTC) if at.utcoffset() is None else at).astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise UsageError(f"{what} must lie between the years 1 and 9999, in UTC too ({error})") from None


def check_due_time(given: object, what: str, now: datetime) -> datetime:
    """Return a time, or the time after a duration from `now`, as a plain datetime in UTC."""
    if not isinstance(given, timedelta):
        if not isinstance(given, datetime):
            raise TypeError(f"{what} is a datetime or a timedelta, not {type(given).__name__}")
        return check_time(given, what)
    try:
        return now + timedelta(given.days, given.seconds, given.microseconds)
    except OverflowError:
        raise UsageError(f"{what} must lie between the years 1 and 9999: {given} from now doesn't") from None


def _check_text(given: object, what: str) -> str:
    if not isinstance(given, str):
        raise BadName(f"{what} must be a string, not {type(given).__name__}")
    text = given if type(given) is str else str.__str__(given)  # a subclass may override `__str__`
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadName(f"{what} must be valid Unicode; {ascii(text)[:80]} holds a lone surrogate") from None
    return text


def _check_line(text: str, what: str, limit: int) -> str:
    if not text.isprintable() and (found := _CONTROL_CHARACTER.search(text)):
        raise BadName(f"{what} can't contain control characters such as {found[0]!r}")
    return _check_length(text, what, limit)


def _check_length(text: str, what: str, limit: int = MAX_NAME_LENGTH) -> str:
    if len(text) > limit:
        raise BadName(f"{what} has {len(text):,} characters, at most {limit} are allowed")
    return text
