"""Route templates in the syntax of ASP.NET: `orders/{id:int}/{part?}`, `files/{*rest}`, `{name=world}`, `{a}-{b}.json`.

Literals are compared without case. If several templates match a path, the most specific has precedence: a literal comes
before a parameter, one with a constraint before one without, and a catch-all last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

Check = Callable[[str], bool]

_PARAMETER = re.compile(
    r"(?P<stars>\*{0,2})(?P<name>[^:=?*{}()]+)(?P<constraints>(?::\w+(?:\(.*?\))?)*)"
    r"(?:=(?P<default>.*?))?(?P<optional>\?)?",
    re.DOTALL,
)
_CONSTRAINT = re.compile(r":(\w+)(?:\((.*?)\))?(?=:\w|$)", re.DOTALL)
_RANKS = {"literal": 1, "complex": 2, "constrained": 3, "plain": 4, "rest": 5}


class RouteSegment(NamedTuple):
    """One segment of a template. `names` and `checks` are those of its parameters, in order."""

    pattern: re.Pattern[str]
    names: tuple[str, ...]
    checks: tuple[tuple[Check, ...], ...]
    rank: int
    optional: bool = False
    catch_all: bool = False
    default: str | None = None

    def match(self, text: str) -> dict[str, str] | None:
        """Match a segment of a path: the values of the parameters, or None."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = dict(zip(self.names, found.groups(), strict=True))
        fits = all(check(value) for value, checks in zip(values.values(), self.checks, strict=True) for check in checks)
        return values if fits else None


class RouteTemplate:
    """A route template; raises ValueError if it is invalid."""

    def __init__(self, text: str) -> None:
        self.text = text.strip("/")
        self._segments = [_parse_segment(part) for part in _split_template(self.text)]
        names = [name.lower() for segment in self._segments for name in segment.names]
        if len(names) != len(set(names)):
            raise ValueError(f"the route {text!r} names a parameter twice")
        for segment in self._segments[:-1]:
            if segment.catch_all or segment.optional:
                raise ValueError(f"in the route {text!r} only the last segment may be optional or a catch-all")
        self.rank = tuple(segment.rank for segment in self._segments)

    def match(self, path: Sequence[str]) -> dict[str, str] | None:
        """Match the segments of a path: the values of the parameters, or None."""
        values: dict[str, str] = {}
        for index, segment in enumerate(self._segments):
            if segment.catch_all:
                text: str | None = "/".join(path[index:]) or None
            else:
                text = path[index] if index < len(path) else None
            if text is None:
                if segment.default is not None:
                    values[segment.names[0]] = segment.default
                elif not (segment.optional or segment.catch_all):
                    return None
                continue
            found = segment.match(text)
            if found is None:
                return None
            values |= found
        ends_open = bool(self._segments) and self._segments[-1].catch_all
        return values if ends_open or len(path) <= len(self._segments) else None


# Parsing.


def _split_template(text: str) -> list[str]:
    """Split at the slashes outside of braces."""
    parts, depth = [""], 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text else []


def _tokenize(part: str) -> Iterator[tuple[bool, str]]:
    """Yield literals (with False) and the content of braces (with True). A doubled brace is a literal one."""
    literal, at = "", 0
    while at < len(part):
        if part[at : at + 2] in ("{{", "}}"):
            literal, at = literal + part[at], at + 2
        elif part[at] == "{":
            end = _find_closing_brace(part, at)
            if literal:
                yield False, literal
            yield True, part[at + 1 : end].replace("{{", "{").replace("}}", "}")
            literal, at = "", end + 1
        elif part[at] == "}":
            raise ValueError(f"unmatched '}}' in the route segment {part!r}; write '}}}}' for a literal brace")
        else:
            literal, at = literal + part[at], at + 1
    if literal:
        yield False, literal


def _find_closing_brace(part: str, at: int) -> int:
    """The index of the brace that closes the one at `at`; doubled ones inside are literal."""
    at += 1
    while at < len(part):
        if part[at : at + 2] in ("{{", "}}"):
            at += 2
        elif part[at] == "}":
            return at
        else:
            at += 1
    raise ValueError(f"unmatched '{{' in the route segment {part!r}; write '{{{{' for a literal brace")


def _parse_segment(part: str) -> RouteSegment:
    tokens = list(_tokenize(part))
    if not tokens:
        raise ValueError("a route can't have empty segments")
    if len(tokens) == 1 and tokens[0][0]:
        return _parse_parameter(tokens[0][1])
    pattern, names, checks = "", list[str](), list[tuple[Check, ...]]()
    for in_braces, text in tokens:
        if not in_braces:
            pattern += re.escape(text)
            continue
        one = _parse_parameter(text)
        if one.catch_all or one.optional or one.default is not None:
            raise ValueError(
                f"a parameter can be optional or a catch-all only if it is a whole segment, unlike in {part!r}"
            )
        pattern += "(.+?)"
        names += one.names
        checks += one.checks
    rank = _RANKS["complex" if names else "literal"]
    return RouteSegment(re.compile(pattern, re.IGNORECASE), tuple(names), tuple(checks), rank)


def _parse_parameter(text: str) -> RouteSegment:
    found = _PARAMETER.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid route parameter {{{text}}}; use {{name}}, {{name:int}}, {{name?}} or {{*name}}")
    checks = tuple(_make_check(*each) for each in _CONSTRAINT.findall(found["constraints"]))
    catch_all = bool(found["stars"])
    return RouteSegment(
        re.compile("(.*)" if catch_all else "(.+)", re.DOTALL),
        (found["name"].strip(),),
        (checks,),
        _RANKS["rest" if catch_all else "constrained" if checks else "plain"],
        bool(found["optional"]),
        catch_all,
        found["default"],
    )


# Constraints.


def _make_check(kind: str, argument: str) -> Check:
    if kind in _SIMPLE_CHECKS and not argument:
        return _SIMPLE_CHECKS[kind]
    try:
        if kind == "regex":
            return _make_regex_check(re.compile(argument, re.IGNORECASE))
        if kind in _LENGTH_CHECKS or kind in _RANGE_CHECKS:
            numbers = [int(part) for part in argument.split(",")]
            return _LENGTH_CHECKS[kind](*numbers) if kind in _LENGTH_CHECKS else _RANGE_CHECKS[kind](*numbers)
    except (ValueError, TypeError, re.error):
        pass
    raise ValueError(
        f"unknown or invalid route constraint: {kind}({argument})" if argument else f"unknown route constraint: {kind}"
    )


def _make_regex_check(pattern: re.Pattern[str]) -> Check:
    return lambda text: pattern.search(text) is not None


def _make_parser_check(read: Callable[[str], object]) -> Check:
    def check(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return check


def _make_pattern_check(pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII | re.IGNORECASE)
    return lambda text: compiled.fullmatch(text) is not None


def _make_integer_check(bits: int) -> Check:
    bound = 1 << (bits - 1)
    digits = re.compile(r"[+-]?[0-9]{1,20}").fullmatch
    return lambda text: digits(text) is not None and -bound <= int(text) < bound


def _make_length_check(minimum: int, maximum: int | None = None) -> Check:
    return lambda text: minimum <= len(text) and (maximum is None or len(text) <= maximum)


def _make_range_check(minimum: int | None, maximum: int | None) -> Check:
    is_integer = _make_integer_check(64)
    return lambda text: (
        is_integer(text) and (minimum is None or int(text) >= minimum) and (maximum is None or int(text) <= maximum)
    )


_SIMPLE_CHECKS: dict[str, Check] = {
    "alpha": _make_pattern_check("[a-z]*"),
    "bool": _make_pattern_check("true|false"),
    "datetime": _make_parser_check(datetime.fromisoformat),
    "decimal": _make_pattern_check(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"),
    "double": _make_pattern_check(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?"),
    "float": _make_pattern_check(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?"),
    "guid": _make_parser_check(UUID),
    "int": _make_integer_check(32),
    "long": _make_integer_check(64),
    "required": lambda text: bool(text.strip()),
}
_LENGTH_CHECKS: dict[str, Callable[..., Check]] = {
    "length": lambda minimum, maximum=None: _make_length_check(minimum, minimum if maximum is None else maximum),
    "maxlength": lambda maximum: _make_length_check(0, maximum),
    "minlength": _make_length_check,
}
_RANGE_CHECKS: dict[str, Callable[..., Check]] = {
    "max": lambda maximum: _make_range_check(None, maximum),
    "min": lambda minimum: _make_range_check(minimum, None),
    "range": _make_range_check,
}
