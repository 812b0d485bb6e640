"""An object of a subclass in a field of its base class: rejected if fields would be lost."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
import pytest

from durablecli.errors import Unserializable
from durablecli.model.payloads import decode, encode


@dataclasses.dataclass
class Animal:
    name: str


@dataclasses.dataclass
class Dog(Animal):
    bark: str = "wow"


@dataclasses.dataclass
class Quiet(Animal):
    def speak(self) -> None: ...


@dataclasses.dataclass
class Polymorphic:
    """Has its own from_json for its objects and those of subclasses."""

    name: str

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"kind": type(self).__name__}

    @staticmethod
    def from_json(found: dict[str, Any]) -> Polymorphic:
        kinds: dict[str, type[Polymorphic]] = {"Polymorphic": Polymorphic, "More": More}
        return kinds[found.pop("kind")](**found)


@dataclasses.dataclass
class More(Polymorphic):
    more: int = 0


class Base(msgspec.Struct):
    name: str


class Sub(Base):
    more: int = 0


@attrs.define
class Plant:
    name: str


@attrs.define
class Tree(Plant):
    height: int = 0


@dataclasses.dataclass
class Zoo:
    star: Animal | None = None
    all: list[Animal] = dataclasses.field(default_factory=list)
    by_name: dict[str, tuple[Animal, ...]] = dataclasses.field(default_factory=dict)
    queue: deque[Animal] = dataclasses.field(default_factory=deque)
    struct: Base | None = None
    plant: Plant | None = None
    either: Animal | Dog | None = None
    anything: Any = None
    thing: Polymorphic | None = None


class Cage(msgspec.Struct):
    inside: Animal


class Row(NamedTuple):
    inside: Animal


class Packed(msgspec.Struct, array_like=True):
    inside: Animal


@attrs.define
class Pot:
    inside: Plant


class Options(TypedDict):
    inside: Animal


DOG = Dog("Rex")


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (Zoo(star=DOG), "$.star", "a Dog, where the annotation says Animal: bark would be lost"),
        ([Zoo(all=[Animal("a"), DOG])], "$[0].all[1]", "annotate it as Animal | Dog"),
        (Zoo(by_name={"a": (DOG,)}), "$.by_name.a[0]", "bark would be lost"),
        (Zoo(queue=deque([DOG])), "$.queue[0]", "bark would be lost"),
        (Zoo(struct=Sub("a")), "$.struct", "a Sub, where the annotation says Base: more would be lost"),
        (Zoo(plant=Tree("a")), "$.plant", "a Tree, where the annotation says Plant: height would be lost"),
        (Cage(DOG), "$.inside", "bark would be lost"),
        (Row(DOG), "$.inside", "bark would be lost"),
        (Packed(DOG), "$.inside", "bark would be lost"),
        (Pot(Tree("a")), "$.inside", "height would be lost"),
    ],
    ids=lambda part: str(part)[:40] if isinstance(part, str) else type(part).__name__,
)  # fmt: skip
def test_fields_of_a_subclass_that_would_be_lost_are_refused(value: Any, path: str, reason: str) -> None:
    with pytest.raises(Unserializable) as refused:
        encode(value)
    assert refused.value.path == path
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    "value",
    [
        Zoo(star=Animal("a"), all=[Animal("b")], struct=Base("c"), plant=Plant("d")),
        Zoo(either=DOG),
        Zoo(thing=More("a", more=3)),
    ],
    ids=["of the class itself", "of a union that names it", "of a class that makes its objects"],
)
def test_what_is_read_back_whole_is_written(value: Any) -> None:
    assert decode(encode(value), Zoo) == value


@pytest.mark.parametrize("value", [DOG, Animal("a"), Sub("a", 1), Base("a"), Tree("a", 2), Plant("a")], ids=repr)
@pytest.mark.parametrize(("base", "sub"), [(Animal, Dog), (Base, Sub), (Plant, Tree)])
def test_of_a_union_of_a_class_and_its_subclass_the_right_one_is_made(value: Any, base: Any, sub: Any) -> None:
    if isinstance(value, base):
        assert type(decode(encode(value), base | sub)) is type(value)
        assert type(decode(encode(value), sub | base | None)) is type(value)


def test_a_subclass_without_more_fields_and_one_where_anything_goes_are_written() -> None:
    assert decode(encode(Zoo(star=Quiet("a"), anything=DOG)))["anything"] == {"name": "Rex", "bark": "wow"}
    assert decode(encode([DOG])) == [{"name": "Rex", "bark": "wow"}]
