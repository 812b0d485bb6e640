"""Explains why JSON can't hold a value, and what to pass instead."""

from __future__ import annotations

from typing import Any

SECRET_ADVICE = (
    "pass the name under which the activity finds it, as an environment variable; or get_secret_value(), which is then "  # noqa: S105 - advice, not a secret
    "stored in plain text"
)


def why_unserializable(value: Any) -> str:
    """Explain why a value can't be written, and what to pass instead."""
    kind = type(value)
    name = type_label(kind)
    if hasattr(kind, "__await__"):
        return f"{name} is not a value yet; did you forget yield or await?"
    if callable(getattr(kind, "get_secret_value", None)):
        return f"{name} is a secret and isn't written; {SECRET_ADVICE}"
    if callable(getattr(kind, "tolist", None)):  # numpy and similar
        return f"{name} can't be written as JSON; pass {_numpy_replacement(value)}"
    if hasattr(kind, "__next__") or name in ("range", "dict_keys", "dict_values", "dict_items"):
        return f"{name} can't be written as JSON; pass list(...) of it"
    return f"{name} can't be written as JSON; make it a dataclass, or give it to_json and from_json"


def _numpy_replacement(value: Any) -> str:
    if not hasattr(value, "item") or getattr(value, "shape", None):
        return "value.tolist()"
    return "str(value)" if type(value).__name__ in ("datetime64", "timedelta64") else "value.item()"


def type_label(kind: type) -> str:
    """Return the name of a class, with its package for numpy and pandas."""
    package = kind.__module__.partition(".")[0]
    return f"{package}.{kind.__qualname__}" if package in ("numpy", "pandas") else kind.__qualname__
