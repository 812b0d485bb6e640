"""Templates of commands, such as `ffmpeg -i {src} {dst}`: placeholders receive the fields of an activity's input.

No value can change the command. Without a shell the template is split into words first, and a value stays in its word.
With a shell the values are its positional parameters, which it doesn't parse.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from string import Formatter
from typing import Any, NamedTuple

from durablecli.errors import InvalidCommandInput

_SCRIPT_NAME = "sh"


class _Field(NamedTuple):
    """A placeholder: the name of a field, or of one in it, or empty for the input itself; and a format."""

    name: str
    format: str


_Word = tuple["str | _Field", ...]


class ShellTemplate:
    """A command with placeholders. Raises ValueError if the template is invalid."""

    def __init__(self, text: str, *, shell: bool) -> None:
        self.text = text
        self._script = _parse(text) if shell else None
        try:
            words = [] if shell else shlex.split(text)
        except ValueError as error:
            raise ValueError(f"the command {text!r} is invalid: {str(error).lower()}") from None
        self._words = [_parse(word) for word in words]
        if not text.strip():
            raise ValueError("the command is empty")
        if self._script is not None:
            _fill_script(self._script, lambda field: ["1"])  # so that an invalid one is refused early

    def fill(self, input: Any) -> list[str]:
        """Return the words of the command. Raises InvalidCommandInput if the input lacks a field."""
        if self._script is None:
            return [text for word in self._words for text in _fill_word(word, input)]
        values: list[str] = []

        def add(field: _Field) -> list[str]:
            found = _get_texts(field, input)
            values.extend(found)
            return [str(len(values) - len(found) + k + 1) for k in range(len(found))]

        script = _fill_script(self._script, add)
        return ["/bin/sh", "-c", script, _SCRIPT_NAME, *values]


def _parse(text: str) -> _Word:
    parts: list[str | _Field] = []
    try:
        for literal, name, format, conversion in Formatter().parse(text):
            if literal:
                parts.append(literal)
            if conversion or "{" in (format or "") or any(each in (name or "") for each in "[]!"):
                raise ValueError(f"{{{name}}} isn't the name of a field")
            if name is not None:
                parts.append(_Field(name, format or ""))
    except ValueError as error:
        raise ValueError(f"the command {text!r} is invalid: {error}; write {{{{ and }}}} for braces") from None
    return tuple(parts)


def _fill_word(word: _Word, input: Any) -> list[str]:
    if len(word) == 1 and isinstance(word[0], _Field):
        return _get_texts(word[0], input)
    return ["".join(part if isinstance(part, str) else _get_text(part, input) for part in word)]


def _fill_script(script: _Word, number: Any) -> str:
    """Return the script with references to positional parameters; `number` gives those of a field."""
    quote, filled = "", ""
    for part in script:
        if isinstance(part, str):
            quote = _find_open_quote(part, quote)
            filled += part
        elif quote == "'":
            raise ValueError(f"leave out the single quotes around {{{part.name}}}: every value is quoted")
        elif quote:
            filled += " ".join(f"${{{each}}}" for each in number(part))
        else:
            filled += " ".join(f'"${{{each}}}"' for each in number(part))
    return filled


def _find_open_quote(text: str, quote: str) -> str:
    """Return the quote that is open after a text, where `quote` is open before it."""
    is_escaped = False
    for character in text:
        if is_escaped:
            is_escaped = False
        elif character == "\\" and quote != "'":
            is_escaped = True
        elif character in "'\"" and quote in ("", character):
            quote = "" if quote else character
    return quote


def _get_texts(field: _Field, input: Any) -> list[str]:
    value = _get_value(field, input)
    if isinstance(value, list):
        return [_to_text(field, each) for each in value]
    return [_to_text(field, value)]


def _get_text(field: _Field, input: Any) -> str:
    return _to_text(field, _get_value(field, input))


def _get_value(field: _Field, input: Any) -> Any:
    value, path = input, "$"
    for name in field.name.split(".") if field.name else ():
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidCommandInput(f"{path}.{name}", "the command needs this field, and the input lacks it")
        value, path = value[name], f"{path}.{name}"
    return value


def _to_text(field: _Field, value: Any) -> str:
    path = f"$.{field.name}" if field.name else "$"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        what = {type(None): "null", list: "a list", dict: "an object"}.get(type(value), type(value).__name__)
        raise InvalidCommandInput(path, f"the command needs a text or a number here, not {what}")
    try:
        text = format(value, field.format)
    except ValueError as error:
        raise InvalidCommandInput(path, str(error)) from None
    if "\0" in text:
        raise InvalidCommandInput(path, "a command can't have a text with a null character")
    return text
