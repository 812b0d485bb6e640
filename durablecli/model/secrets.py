"""Credentials of HTTP calls: named in code, read from the environment when a request is sent, and never written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

_is_name = re.compile(r"[^=\0]+").fullmatch


class Secret:
    """The value of an environment variable, with optional text before and after it. See `secret`."""

    __slots__ = ("name", "prefix", "suffix")

    def __init__(self, name: str, prefix: str = "", suffix: str = "") -> None:
        if not isinstance(name, str) or not _is_name(name):
            raise ValueError(f"invalid name of an environment variable: {name!r}")
        self.name = name
        self.prefix = prefix
        self.suffix = suffix

    def __add__(self, text: object) -> Secret:
        return Secret(self.name, self.prefix, self.suffix + text) if isinstance(text, str) else NotImplemented

    def __radd__(self, text: object) -> Secret:
        return Secret(self.name, text + self.prefix, self.suffix) if isinstance(text, str) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.reference() == other.reference()

    def __hash__(self) -> int:
        return hash((self.name, self.prefix, self.suffix))

    def __repr__(self) -> str:
        return f"secret({self.name!r})"

    def __str__(self) -> NoReturn:
        raise TypeError(f"a secret has no text before it is sent: write 'Bearer ' + df.secret({self.name!r})")

    def __format__(self, spec: str) -> NoReturn:
        str(self)
        raise AssertionError("unreachable")

    def reference(self) -> dict[str, str]:
        """Return what is written instead: the name, and the text before and after it."""
        parts = {"secret": self.name, "prefix": self.prefix, "suffix": self.suffix}
        return {key: text for key, text in parts.items() if text}

    def resolve(self, environment: Mapping[str, str]) -> str:
        """Return the value with its text; raises LookupError or ValueError, whose message doesn't contain the value."""
        value = environment.get(self.name)
        if not value:
            raise LookupError(
                f"the environment variable {self.name}, which df.secret names, isn't set; set it for the process that"
                " runs the engine"
            )
        if not value.isprintable() or not value.isascii():
            raise ValueError(f"the environment variable {self.name} can't be sent: it has a line break, or isn't ASCII")
        return f"{self.prefix}{value}{self.suffix}"


def secret(name: str) -> Secret:
    """A credential for a header of `context.call_http`, taken from the environment variable `name`.

    It is read when the request is sent, by the process that runs the engine, and never written; the history contains
    only the variable's name. It can be part of a text: `{"Authorization": "Bearer " + df.secret("API_TOKEN")}`.
    """
    return Secret(name)


def parse_reference(value: object) -> Secret | None:
    """Return the secret of a reference; None if this is none."""
    if not isinstance(value, dict) or not isinstance(value.get("secret"), str):
        return None
    return Secret(value["secret"], value.get("prefix", ""), value.get("suffix", ""))
