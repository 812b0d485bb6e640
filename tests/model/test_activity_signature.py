"""An activity receives one input and a context; a signature that wants more is refused when it is decorated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import durablecli as df

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]


@dataclass
class Order:
    id: int


class Progress(Protocol):
    def heartbeat(self, details: object = None) -> None: ...


def open_db() -> str:
    return "db"


def two_values(person: str, question: str) -> None: ...
def input_and_order(person: str, order: Order) -> None: ...
def input_and_list(person: str, items: list[str]) -> None: ...
def input_and_maybe(person: str, text: str | None) -> None: ...
def three(person, context, text) -> None: ...  # type: ignore[no-untyped-def]
def only_input(person: str) -> None: ...
def nothing() -> None: ...
def untyped(person, context) -> None: ...  # type: ignore[no-untyped-def]
def typed(person: str, context: df.ActivityContext) -> None: ...
def context_first(context: df.ActivityContext, person: str) -> None: ...
def anything(person: str, context: Any) -> None: ...
def protocol(person: str, context: Progress) -> None: ...
def unresolved(person: str, context: Unknown) -> None: ...
def with_default(person: str, times: int = 3) -> None: ...
def with_resource(person: str, db: str = df.Depends(df.resource(open_db))) -> None: ...
def keywords(*, person: str, text: str) -> None: ...
def rest(*args: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        (two_values, "question"),
        (input_and_order, "order"),
        (input_and_list, "items"),
        (input_and_maybe, "text"),
        (three, "text"),
    ],
)
def test_a_second_input_is_refused(function: Callable[..., Any], parameter: str) -> None:
    with pytest.raises(TypeError, match=f"activity '{function.__name__}' takes one input.* parameter '{parameter}'"):
        df.activity(function)


@pytest.mark.parametrize(
    "function",
    [
        only_input, nothing, untyped, typed, context_first, anything, protocol, unresolved, with_default, with_resource,
        keywords, rest, print,
    ],
)  # fmt: skip
def test_an_input_with_a_context_is_accepted(function: Callable[..., Any]) -> None:
    df.activity(name="any")(function)


def test_a_wrapper_that_adds_an_argument_is_accepted() -> None:
    @wraps(two_values)
    def call(person: str) -> None:
        two_values(person, "really?")

    df.activity(call)
