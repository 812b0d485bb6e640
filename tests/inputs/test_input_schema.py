"""Schemas of inputs: what they say of a type, what they refuse, and that they refuse nothing that can be decoded."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePosixPath
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import attrs
import msgspec
import pytest
from msgspec import Raw
from pydantic import BaseModel, ConfigDict, Field

from durablecli.errors import InvalidInput, UsageError
from durablecli.inputs.field_texts import build_input, split_pair
from durablecli.inputs.input_check import check_by_schema, check_by_type
from durablecli.inputs.input_fields import list_fields
from durablecli.inputs.input_schema import make_schema
from durablecli.inputs.schema_check import find_problems
from durablecli.model.payloads import decode, encode


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Item:
    """An item.

    Attributes:
        sku: The stock
            number.
        count (int): How many.
    """

    sku: str
    count: int = 1


@dataclasses.dataclass
class Order:
    id: Annotated[int, msgspec.Meta(ge=1, description="The number.")]
    items: list[Item]
    "What was ordered."
    color: Color = Color.RED
    note: str | None = None
    path: PurePosixPath | None = None
    when: dt.datetime | None = None
    extra: Any = None
    made: bool = dataclasses.field(init=False, default=True)


class Closed(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: str
    rates: dict[str, float] = {}


class Keys(TypedDict):
    a: int
    b: NotRequired[str]


@attrs.define
class Point:
    x: int
    y: int = 0


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Own:
    @classmethod
    def from_json(cls, value: Any) -> Own:
        return cls()


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: int = Field(gt=0, description="In cents.")
    item: Item


class Aliased(BaseModel):
    amount: int = Field(alias="betrag")


class Listing(BaseModel):
    numbers: set[int]
    by_name: dict[str, int]
    pages: list[list[int]] | None


@dataclasses.dataclass
class Priced:
    amount: Decimal
    rest: Decimal | None = None


class Access(Flag):
    READ = 1
    WRITE = 2


class Node(msgspec.Struct):
    value: int
    next: Node | None = None


FITTING = [
    (Order, {"id": 1, "items": [{"sku": "a"}], "unknown": 1}),
    (Order, {"id": 1, "items": [], "color": "blue", "note": None, "when": "2026-01-01T00:00:00Z", "path": "x"}),
    (Closed, {"firstName": "a", "rates": {"x": 1}}),
    (Keys, {"a": 1}),
    (Point, {"x": 1}),
    (Pair, [1, "a"]),
    (Own, "anything"),
    (Model, {"amount": "5", "item": {"sku": "a"}}),
    (Aliased, {"amount": 1}),
    (Aliased, {"betrag": 1}),
    (Node, {"value": 1, "next": {"value": 2}}),
    (Item | None, None),
    (int | list[str], ["a"]),
    (tuple[int, ...], [1, 2]),
    (Mapping[str, Item], {"x": {"sku": "a"}}),
    (Decimal, "1.5"),
    (Decimal, 1.5),
    (list[Decimal], [1, "2"]),
    (Access, 3),
    (Iterable[int], "abc"),
    (Listing, {"numbers": ["1"], "by_name": {"a": "2"}, "pages": [["3"]]}),
    (Any, {"x": [1]}),
]


@pytest.mark.parametrize(("kind", "value"), FITTING)
def test_what_can_be_decoded_fits_the_schema(kind: Any, value: Any) -> None:
    decode(encode(value), kind)
    assert find_problems(value, make_schema(kind)) == []
    check_by_type("f", kind, encode(value))


WRONG = [
    (Decimal, True, "$: expected decimal, got true"),
    (Order, {"id": "x", "items": []}, "$.id: expected int, got 'x'"),
    (Order, {"items": []}, "$.id: missing field (f needs: id, items)"),
    (Order, {"id": 1, "items": [{"sku": 5}]}, "$.items[0].sku: expected str, got 5"),
    (Order, {"id": 1, "itms": []}, "$.items: missing field (f needs: id, items); unknown field 'itms'"),
    (Closed, {"firstName": "a", "rate": {}}, "$.rate: unknown field; did you mean 'rates'?"),
    (Keys, {"b": "x"}, "$.a: missing field (f needs: a)"),
    (Point, [], "$: expected object, got a list"),
    (Node, {"value": 1, "next": {}}, "$.next.value: missing field (Node needs: value)"),
    (list[int], [1, True], "$[1]: expected int, got true"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), WRONG)
def test_type_and_schema_refuse_in_the_same_words(kind: Any, value: Any, reason: str) -> None:
    with pytest.raises(InvalidInput) as by_type:
        check_by_type("f", kind, encode(value))
    with pytest.raises(InvalidInput) as by_schema:
        check_by_schema("f", make_schema(kind), encode(value))
    words = {str(by_type.value), str(by_schema.value)}
    assert words == {reason} or words == {reason, reason.replace("object", kind.__name__)}


def test_pydantic_reports_all_that_is_wrong() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_by_type("f", Model, encode({"amount": 0, "itm": 1}))
    assert [path for path, _ in refused.value.problems] == ["$.amount", "$.item", "$.itm"]


def test_fields_have_texts_defaults_and_types() -> None:
    fields = {each.path: each for each in list_fields(make_schema(Order))}
    assert (fields["id"].type, fields["id"].description, fields["id"].is_required) == ("int >= 1", "The number.", True)
    assert (fields["items"].type, fields["items"].description) == ("list of Item", "What was ordered.")
    assert (fields["color"].type, fields["color"].default) == ("red | blue", '"red"')
    assert fields["note"].default == "null"
    assert "made" not in make_schema(Order)["$defs"]["Order"].get("required", ())
    inner = {each.path: each.description for each in list_fields(make_schema(Item))}
    assert inner == {"sku": "The stock number.", "count": "How many."}
    assert list_fields(make_schema(Model))[0].description == "In cents."


@pytest.mark.parametrize(
    ("kind", "pairs", "made"),
    [
        (Order, ["id=1", "items=[]", "note=7", "extra=7"], {"id": 1, "items": [], "note": "7", "extra": 7}),
        (Order, ["id=1", 'items={"sku": "a"}', 'items={"sku": "b"}'], {"id": 1, "items": [{"sku": "a"}, {"sku": "b"}]}),
        (Closed, ["firstName=true", "rates.x=1.5"], {"firstName": "true", "rates": {"x": 1.5}}),
        (int | list[str], [], None),
        (
            Node,
            ["value=1", "next.value=2", "next.next.value=3"],
            {"value": 1, "next": {"value": 2, "next": {"value": 3}}},
        ),
        (Priced, ["amount=12.50", "rest=0.10"], {"amount": "12.50", "rest": "0.10"}),
        (Any, ["a=x y", "b=1", "b=z"], {"a": "x y", "b": [1, "z"]}),
    ],
)
def test_texts_become_values_by_the_schema(kind: Any, pairs: list[str], made: Any) -> None:
    if pairs:
        assert decode(build_input("f", make_schema(kind), map(split_pair, pairs))) == made


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (["next.vale=1"], r"\$\.next\.vale: unknown field; did you mean 'value'\?"),
        (["value=1", "value=2"], r"\$\.value: given 2 times, but it is no list"),
        (["next=null", "next.value=2"], r"\$\.next\.value: given as a whole and by its fields"),
        (["value.x=2"], r"\$\.value: expected int, which has no field 'x'"),
        (["value"], "'value' is not FIELD=VALUE"),
    ],
)
def test_wrong_texts_are_refused(pairs: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        build_input("f", make_schema(Node), [split_pair(each) for each in pairs])


def test_fields_replace_those_of_an_input_and_the_rest_stays_as_it_was_written() -> None:
    made = build_input("f", {}, [("a", "2"), ("b.c", "3")], Raw(b'{"a":1,"b":{"d":4},"n":1.50}'))
    assert bytes(made) == b'{"a":2,"b":{"d":4,"c":3},"n":1.50}'
