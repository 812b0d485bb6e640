"""Annotations are resolved one by one: a name that only type checkers import doesn't spoil the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, List, NamedTuple, TypedDict  # noqa: UP035 - the old spelling is tested

import msgspec
import pytest

from durablecli.model.annotations import find_unresolved, resolve_signature, resolve_type_hints
from durablecli.model.payloads import decode

if TYPE_CHECKING:
    from somewhere import Missing  # type: ignore[import-not-found]


@dataclasses.dataclass
class Order:
    id: int


def pack(order: Order, price: Decimal, several: List[Order], context: Missing) -> Order:  # noqa: UP006
    return order


class Packer:
    def __call__(self, order: Order, context: Missing) -> Order:
        return order

    def method(self, order: Order, context: Missing) -> Order:
        return order


def decorate(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def wrapper(*arguments: Any) -> Any:
        return call(*arguments)

    return wrapper


@pytest.mark.parametrize(
    "call",
    [pack, decorate(pack), partial(pack, price=Decimal()), Packer(), Packer().method, Packer.method],
    ids=["function", "decorated", "partial", "object", "bound method", "method"],
)
def test_one_unresolved_annotation_leaves_the_others_resolved(call: Callable[..., Any]) -> None:
    found = resolve_signature(call)
    assert found.parameters["order"].annotation is Order
    assert found.parameters["context"].annotation == "Missing"
    assert found.return_annotation is Order


def test_a_name_in_quotes_within_a_type_is_resolved() -> None:
    def many(orders: list[Order]) -> None: ...

    many.__annotations__["orders"] = list["Order"]
    assert resolve_signature(many).parameters["orders"].annotation == list[Order]
    assert resolve_signature(many).return_annotation is None


@dataclasses.dataclass
class Parcel:
    order: Order
    price: Decimal
    missing: Missing
    note: str = ""


class Crate(msgspec.Struct):
    order: Order
    missing: Missing
    amount: int = 1


class Row(NamedTuple):
    order: Order
    missing: Missing
    amount: int = 1


class Options(TypedDict, total=False):
    order: Order
    missing: Missing


@pytest.mark.parametrize("kind", [Parcel, Crate, Row, Options], ids=lambda kind: str(kind.__name__))
def test_an_unresolved_field_leaves_the_others_resolved(kind: Any) -> None:
    assert resolve_type_hints(kind)["order"] is Order
    raw = b'[{"id":1},{"a":1}]' if kind is Row else b'{"order":{"id":1},"price":"1.10","missing":{"a":1}}'
    made = decode(raw, kind)
    if kind is Options:
        assert made["order"] == Order(1)
    else:
        assert (made.order, made.missing) == (Order(1), {"a": 1})
        assert kind is not Parcel or made.price == Decimal("1.10")


@pytest.mark.parametrize("kind", [Parcel, Crate], ids=lambda kind: str(kind.__name__))
def test_a_required_field_is_required_though_another_is_unresolved(kind: Any) -> None:
    with pytest.raises(ValueError, match="missing required field `order`"):
        decode(b'{"missing":1}', kind)


def test_what_cannot_be_resolved_is_listed_with_its_place() -> None:
    class Shelf:
        total: ClassVar[int] = 0
        missing: Missing
        parcels: list[Parcel]

    hints = resolve_type_hints(Shelf)
    seen: set[Any] = set()
    found = [line for name, hint in hints.items() if name != "parcels" for line in find_unresolved(hint, name, seen)]
    assert found == ["missing: Missing"]
    assert list(find_unresolved(list[Parcel], "parcels", seen)) == ["Parcel.missing: Missing"]
    assert list(find_unresolved(list[Parcel], "parcels", seen)) == []
    assert list(find_unresolved(dict[str, "Missing"], "by_name", seen)) == ["by_name: Missing"]
