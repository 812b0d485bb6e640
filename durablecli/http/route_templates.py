"""Route templates as ASP.NET writes them: `orders/{id:int}/{part?}`, `files/{*rest}`, `{name=world}`, `{a}-{b}.json`.

Literals are compared without case. Of several templates that fit a path the one that says more goes first: a literal
before a parameter, one with a constraint before one without, and what takes all the rest last.
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
_SPECIFIC = {"literal": 1, "complex": 2, "constrained": 3, "plain": 4, "rest": 5}


class Segment(NamedTuple):
    """One part of a template between slashes. `names` and `checks` are those of its parameters, in order."""

    pattern: re.Pattern[str]
    names: tuple[str, ...]
    checks: tuple[tuple[Check, ...], ...]
    rank: int
    optional: bool = False
    rest: bool = False
    default: str | None = None

    def read(self, text: str) -> dict[str, str] | None:
        """The parameters in this part of a path; None if it doesn't fit."""
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = dict(zip(self.names, found.groups(), strict=True))
        fits = all(check(value) for value, checks in zip(values.values(), self.checks, strict=True) for check in checks)
        return values if fits else None


class Template:
    """A route. Raises ValueError if it makes no sense."""

    def __init__(self, text: str) -> None:
        self.text = text.strip("/")
        self._segments = [_segment(part) for part in _split(self.text)]
        names = [name.lower() for segment in self._segments for name in segment.names]
        if len(names) != len(set(names)):
            raise ValueError(f"the route {text!r} names a parameter twice")
        for segment in self._segments[:-1]:
            if segment.rest or segment.optional:
                raise ValueError(f"in the route {text!r} only the last part may be optional or take the rest")
        self.rank = tuple(segment.rank for segment in self._segments)

    def read(self, parts: Sequence[str]) -> dict[str, str] | None:
        """The parameters of a path that is given in its parts; None if it doesn't fit."""
        values: dict[str, str] = {}
        for index, segment in enumerate(self._segments):
            if segment.rest:
                text: str | None = "/".join(parts[index:]) or None
            else:
                text = parts[index] if index < len(parts) else None
            if text is None:
                if segment.default is not None:
                    values[segment.names[0]] = segment.default
                elif not (segment.optional or segment.rest):
                    return None
                continue
            found = segment.read(text)
            if found is None:
                return None
            values |= found
        takes_all = bool(self._segments) and self._segments[-1].rest
        return values if takes_all or len(parts) <= len(self._segments) else None


# Reading a template.


def _split(text: str) -> list[str]:
    """The parts between the slashes that stand outside of braces."""
    parts, depth = [""], 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if text else []


def _tokens(part: str) -> Iterator[tuple[bool, str]]:
    """Literals (False) and what stands in braces (True); doubled braces stand for themselves."""
    literal, at = "", 0
    while at < len(part):
        if part[at : at + 2] in ("{{", "}}"):
            literal, at = literal + part[at], at + 2
        elif part[at] == "{":
            end = _closing(part, at)
            if literal:
                yield False, literal
            yield True, part[at + 1 : end].replace("{{", "{").replace("}}", "}")
            literal, at = "", end + 1
        elif part[at] == "}":
            raise ValueError(f"the route part {part!r} closes a brace that it never opened")
        else:
            literal, at = literal + part[at], at + 1
    if literal:
        yield False, literal


def _closing(part: str, at: int) -> int:
    """Where the brace ends that opens at `at`; doubled ones inside stand for themselves."""
    at += 1
    while at < len(part):
        if part[at : at + 2] in ("{{", "}}"):
            at += 2
        elif part[at] == "}":
            return at
        else:
            at += 1
    raise ValueError(f"the route part {part!r} never closes its brace")


def _segment(part: str) -> Segment:
    tokens = list(_tokens(part))
    if not tokens:
        raise ValueError("a route has no empty parts")
    if len(tokens) == 1 and tokens[0][0]:
        return _parameter(tokens[0][1])
    pattern, names, checks = "", list[str](), list[tuple[Check, ...]]()
    for in_braces, text in tokens:
        if not in_braces:
            pattern += re.escape(text)
            continue
        one = _parameter(text)
        if one.rest or one.optional or one.default is not None:
            raise ValueError(f"a parameter within a part of a route is needed and ends there: {part!r}")
        pattern += "(.+?)"
        names += one.names
        checks += one.checks
    rank = _SPECIFIC["complex" if names else "literal"]
    return Segment(re.compile(pattern, re.IGNORECASE), tuple(names), tuple(checks), rank)


def _parameter(text: str) -> Segment:
    found = _PARAMETER.fullmatch(text)
    if found is None:
        raise ValueError(f"{{{text}}} is no parameter of a route: write {{name}}, {{name:int}}, {{name?}} or {{*name}}")
    checks = tuple(_check(*each) for each in _CONSTRAINT.findall(found["constraints"]))
    rest = bool(found["stars"])
    return Segment(
        re.compile("(.*)" if rest else "(.+)", re.DOTALL),
        (found["name"].strip(),),
        (checks,),
        _SPECIFIC["rest" if rest else "constrained" if checks else "plain"],
        bool(found["optional"]),
        rest,
        found["default"],
    )


# Constraints.


def _check(kind: str, given: str) -> Check:
    if kind in _PLAIN and not given:
        return _PLAIN[kind]
    try:
        if kind == "regex":
            return _searches(re.compile(given, re.IGNORECASE))
        if kind in _LENGTHS or kind in _NUMBERS:
            numbers = [int(part) for part in given.split(",")]
            return _LENGTHS[kind](*numbers) if kind in _LENGTHS else _NUMBERS[kind](*numbers)
    except (ValueError, TypeError, re.error):
        pass
    raise ValueError(f"no route can ask for {kind}({given})" if given else f"no route can ask for {kind!r}")


def _searches(pattern: re.Pattern[str]) -> Check:
    return lambda text: pattern.search(text) is not None


def _parses(read: Callable[[str], object]) -> Check:
    def check(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return check


def _fits(pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII | re.IGNORECASE)
    return lambda text: compiled.fullmatch(text) is not None


def _integer(bits: int) -> Check:
    most = 1 << (bits - 1)
    digits = re.compile(r"[+-]?[0-9]{1,20}").fullmatch
    return lambda text: digits(text) is not None and -most <= int(text) < most


def _long_enough(least: int, most: int | None = None) -> Check:
    return lambda text: least <= len(text) and (most is None or len(text) <= most)


def _between(least: int | None, most: int | None) -> Check:
    whole = _integer(64)
    return lambda text: whole(text) and (least is None or int(text) >= least) and (most is None or int(text) <= most)


_PLAIN: dict[str, Check] = {
    "alpha": _fits("[a-z]*"),
    "bool": _fits("true|false"),
    "datetime": _parses(datetime.fromisoformat),
    "decimal": _fits(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"),
    "double": _fits(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?"),
    "float": _fits(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?"),
    "guid": _parses(UUID),
    "int": _integer(32),
    "long": _integer(64),
    "required": lambda text: bool(text.strip()),
}
_LENGTHS: dict[str, Callable[..., Check]] = {
    "length": lambda least, most=None: _long_enough(least, least if most is None else most),
    "maxlength": lambda most: _long_enough(0, most),
    "minlength": _long_enough,
}
_NUMBERS: dict[str, Callable[..., Check]] = {
    "max": lambda most: _between(None, most),
    "min": lambda least: _between(least, None),
    "range": _between,
}
