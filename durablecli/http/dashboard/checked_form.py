"""The fields of a form, checked on the server: each wrong one gets a message, and what was typed is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import Raw

from durablecli.errors import UsageError
from durablecli.http.dashboard.forms import FormValues
from durablecli.model.payloads import encode
from durablecli.model.time_spans import parse_duration
from durablecli.parsing import parse_tags, parse_time

_EXCERPT_LENGTH = 30
_REASONS = {
    "Expecting value": "a value is missing",
    "Expecting property name enclosed in double quotes": "a key in double quotes is missing",
    "Expecting ',' delimiter": "a comma or a closing bracket is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Extra data": "there is more text after the value",
    "Unterminated string starting at": "the text that begins here has no closing quote",
    "Invalid control character at": "a line break or control character in a text; write \\n for a line break",
    "Illegal trailing comma before end of object": "a comma before the closing bracket",
    "Illegal trailing comma before end of array": "a comma before the closing bracket",
}
"""What Python's JSON parser reports, in plain words."""


class InvalidForm(Exception):
    """A field is wrong; the errors of the form say which and why."""


class CheckedForm:
    """The fields of a form, read by their types; `errors` has a message for each field that is wrong."""

    def __init__(self, values: FormValues) -> None:
        self._values = values
        self.errors: dict[str, str] = {}

    def text(self, name: str) -> str:
        """The text of a field as it was typed, except for the line ends; empty if it has none."""
        return self._values.text(name).replace("\r\n", "\n")

    def has(self, name: str) -> bool:
        """Whether the field was sent, be it empty."""
        return self._values.has(name)

    def word(self, name: str) -> str:
        """The text of a field without spaces around it."""
        return self.text(name).strip()

    def checked(self, name: str) -> bool:
        """Whether a box is checked."""
        return self._values.flag(name)

    def required(self, name: str) -> str:
        """The text of a field that must not be empty."""
        if not (text := self.word(name)):
            self.errors[name] = "this is required"
        return text

    def check(self) -> None:
        """Raise InvalidForm if a field that was read is wrong."""
        if self.errors:
            raise InvalidForm

    def choice(self, name: str, allowed: Iterable[str], default: str) -> str:
        """The chosen one of several values."""
        found = self.word(name) or default
        if found not in (known := tuple(allowed)):
            self.errors[name] = f"choose one of {', '.join(known)}"
            return default
        return found

    def valid(self, name: str, check: Callable[[str], Any]) -> str | None:
        """The text of a field that a function checks, which raises UsageError; None for an empty one."""
        if not (text := self.word(name)):
            return None
        try:
            check(text)
        except UsageError as error:
            self.errors[name] = str(error)
        return text

    def json(self, name: str) -> Raw:
        """The value that was typed as JSON; null for an empty field."""
        try:
            return parse_json_text(self.text(name))
        except UsageError as error:
            self.errors[name] = str(error)
            return Raw(b"null")

    def due_time(self, delay: str, at: str) -> datetime | None:
        """The time that a field with a duration or a field with a time gives; None if both are empty."""
        try:
            if self.word(delay) and self.word(at):
                self.errors[at] = "give either a delay or a time"
            elif self.word(delay):
                return datetime.now(UTC) + parse_duration(self.word(delay))
            elif self.word(at):
                return parse_time(self.word(at))
        except (UsageError, OverflowError) as error:
            is_delay = bool(self.word(delay))
            self.errors[delay if is_delay else at] = str(error) if isinstance(error, UsageError) else "it is too long"
        return None

    def tags(self, name: str) -> dict[str, str]:
        """The tags of a field with one `key=value` a line."""
        try:
            return parse_tags(line.strip() for line in self.text(name).splitlines() if line.strip())
        except UsageError as error:
            self.errors[name] = str(error)
            return {}


def parse_json_text(text: str) -> Raw:
    """Parse JSON as a person typed it; an empty text is null. Raises UsageError with the line and the column."""
    if not text.strip():
        return Raw(b"null")
    try:
        return encode(Raw(text.encode()))
    except UnicodeEncodeError:
        raise UsageError("the text isn't valid Unicode") from None
    except UsageError as error:
        raise UsageError(_explain_json_error(text) or str(error)) from None


def _explain_json_error(text: str) -> str:
    """Say where a text isn't JSON, and why; empty if Python's parser, which is less strict, finds nothing wrong."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].split("\n", maxsplit=1)[0][:_EXCERPT_LENGTH].strip()
        near = f" at {rest}" if rest else ", at the end" if not text[error.pos :].strip() else ""
        hint = f'; a text needs quotes: "{rest.split()[0]}"' if rest[:1].isalpha() and error.msg in _REASONS else ""
        reason = _REASONS.get(error.msg, error.msg[:1].lower() + error.msg[1:])
        return f"not JSON: line {error.lineno}, column {error.colno}{near}: {reason}{hint}"
    except (RecursionError, ValueError):
        pass
    return ""
