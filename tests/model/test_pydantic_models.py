"""pydantic models and dataclasses are read back unchanged, or rejected with the field that would be lost."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
import numpy as np
import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass

from durablecli.errors import Mismatch, Unserializable
from durablecli.model.payloads import decode, encode

T = TypeVar("T")


class Customer(BaseModel):
    customer_no: int = Field(alias="customerNo")


class Settings(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    max_wait: int = 5


class Apart(BaseModel):
    number: int = Field(validation_alias="no", serialization_alias="nr")


class Chosen(BaseModel):
    number: int = Field(validation_alias=AliasChoices("no", "nr", AliasPath("numbers", 0)))


class Swapped(BaseModel):
    a: int = Field(alias="b")
    b: int = Field(alias="a")


class Mongo(BaseModel):
    id: str = Field(alias="_id")
    reference: int = Field(alias="id")


class ByAliasOnly(BaseModel):
    model_config = ConfigDict(validate_by_name=False, extra="forbid", strict=True)
    at: datetime = Field(alias="theTime")
    key: UUID
    several: tuple[int, ...] = ()
    unique: frozenset[int] = frozenset()


class Box(BaseModel):
    model_config = ConfigDict(extra="forbid")
    w: int
    h: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.w * self.h


class Boxes(BaseModel):
    boxes: dict[str, list[Box]]


class Customers(RootModel[list[Customer]]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]
    next_page: int | None = Field(default=None, alias="nextPage")


@pydantic_dataclass
class Entry:
    entry_no: int = Field(alias="entryNo")
    price: Decimal = Decimal(1)


@dataclasses.dataclass
class Order:
    customer: Customer
    boxes: list[Box]
    entry: Entry | None = None


class Line(msgspec.Struct, rename="camel"):
    the_customer: Customer


class Cat(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    pet_type: Literal["cat"] = "cat"


class Dog(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    pet_type: Literal["dog"] = "dog"


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="pet_type")]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Colour(enum.Enum):
    RED = "red"


class Several(BaseModel):
    colour: Colour = Colour.RED
    when: datetime | None = None
    price: Decimal = Decimal("1.10")
    text: Json[list[int]] = [1]
    picture: Base64Bytes = b"eHg="
    plain: bytes = b"abc"
    halves: Annotated[complex, BeforeValidator(complex), PlainSerializer(str)] = 1 + 2j
    _cache: int = PrivateAttr(default=3)


class Packed(BaseModel):
    a: int
    hidden: int = Field(default=1, exclude=True)

    @model_serializer
    def pack(self) -> list[int]:
        return [self.a, self.hidden]

    @model_validator(mode="before")
    @classmethod
    def unpack(cls, value: Any) -> Any:
        return dict(zip(("a", "hidden"), value, strict=True)) if isinstance(value, list) else value


class Binary(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Told(BaseModel):
    password: SecretStr

    @field_serializer("password", when_used="json")
    def tell(self, password: SecretStr) -> str:
        return password.get_secret_value()


class Animal(BaseModel):
    name: str


class Barking(Animal):
    bark: str


def make_value(kind: Any, **fields: Any) -> Any:
    """An object of a model, by aliases that type checkers don't know."""
    return kind(**fields)


NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (make_value(Customer, customerNo=7), Customer),
        (make_value(Settings, maxWait=30), Settings),
        (make_value(Apart, no=7), Apart),
        (make_value(Chosen, no=7), Chosen),
        (make_value(Swapped, a=1, b=2), Swapped),
        (make_value(Mongo, _id="x", id=3), Mongo),
        ([Mongo(_id="x", id=3)], list[Mongo]),
        (make_value(ByAliasOnly, theTime=NOW, key=UUID(int=1), several=(1, 2), unique=frozenset({1})), ByAliasOnly),
        (Box(w=3, h=4), Box),
        (Boxes(boxes={"a": [Box(w=3, h=4)]}), Boxes),
        (Customers([Customer(customerNo=7)]), Customers),
        (Page[Customer](items=[Customer(customerNo=7)], nextPage=2), Page[Customer]),
        (make_value(Entry, entryNo=7, price=Decimal("1.10")), Entry),
        ([Entry(entryNo=7)], list[Entry]),
        (Order(make_value(Customer, customerNo=7), [Box(w=1, h=2)], make_value(Entry, entryNo=7)), Order),
        (Line(make_value(Customer, customerNo=7)), Line),
        ({"a": [Customer(customerNo=7), None]}, dict[str, list[Customer | None]]),
        (Owner(pet=Dog()), Owner),
        (make_value(Open, x=1, y=[2]), Open),
        (Several(when=NOW), Several),
        (Packed(a=1, hidden=5), Packed),
        (Binary(data=b"\xff\x00"), Binary),
        (Told(password=SecretStr("tiger")), Told),
        (Barking(name="a", bark="b"), Animal | Barking),
        (Animal(name="a"), Barking | Animal),
        ([Dog(), Cat()], list[Cat | Dog]),
    ],
    ids=lambda part: type(part).__name__ if not isinstance(part, type) else "",
)
def test_an_object_of_pydantics_comes_back(value: Any, annotation: Any) -> None:
    back = decode(encode(value), annotation)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"customerNo":7}', make_value(Customer, customerNo=7)),
        (b'{"customer_no":7}', make_value(Customer, customerNo=7)),
        (b'{"maxWait":30}', make_value(Settings, maxWait=30)),
        (b'{"nr":7}', make_value(Chosen, no=7)),
        (b'{"numbers":[7]}', make_value(Chosen, no=7)),
        (b'{"entryNo":7}', make_value(Entry, entryNo=7)),
    ],
)
def test_json_from_elsewhere_may_use_aliases_and_names(raw: bytes, expected: Any) -> None:
    assert decode(raw, type(expected)) == expected


def test_a_model_is_written_by_the_names_of_its_fields() -> None:
    assert bytes(encode(make_value(Customer, customerNo=7))) == b'{"customer_no":7}'


class Seen(BaseModel):
    w: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.w


class SeenInOpen(BaseModel):
    model_config = ConfigDict(extra="allow")
    seen: Seen


class SeenBesideBox(BaseModel):
    seen: Seen
    box: Box


class SeenWithJson(Seen):
    text: Json[list[int]]


def test_a_computed_field_is_written_where_reading_ignores_it() -> None:
    assert decode(encode([Seen(w=2)])) == [{"w": 2, "twice": 4}]
    assert decode(encode(SeenInOpen(seen=Seen(w=2)))) == {"seen": {"w": 2, "twice": 4}}
    assert decode(encode(Box(w=1, h=2))) == {"w": 1, "h": 2}
    both = SeenBesideBox(seen=Seen(w=2), box=Box(w=1, h=2))
    for value in (Seen(w=2), SeenInOpen(seen=Seen(w=2)), both, make_value(SeenWithJson, w=1, text="[1]")):
        assert decode(encode(value), type(value)) == value


def test_what_does_not_fit_names_the_model() -> None:
    with pytest.raises(Mismatch, match=r"\$\[0\]: Customer couldn't be made of this: ValidationError"):
        decode(b'[{"customerNo":"x"}]', list[Customer])


# ── data that would be lost ──────────────────────────────────────────────────────────────────────────────────────────


class Login(BaseModel):
    user: str = "scott"
    password: SecretStr


class Keys(BaseModel):
    logins: dict[str, list[Login]] = {}
    key: SecretBytes | None = None
    pin: Secret[int] | None = None


@dataclasses.dataclass
class Job:
    login: Login


@dataclasses.dataclass
class Bare:
    password: SecretStr


class Noted(BaseModel):
    name: str
    note: str | None = Field(default=None, exclude=True)
    must: int = Field(default_factory=lambda: 3, exclude=True)


class Odd(BaseModel):
    x: int = Field(default=0, exclude_if=lambda x: x > 5)


class Quiet(Animal):
    def speak(self) -> None: ...


class Zoo(BaseModel):
    star: Animal | None = None
    all: list[Animal] = []
    by_name: dict[str, Animal] = {}


class OpenZoo(BaseModel):
    anything: Any = None
    star: SerializeAsAny[Animal] | None = None
    either: Animal | Barking | None = None


@dataclasses.dataclass
class Cage:
    inside: Animal


class Cents(BaseModel):
    price: int

    @field_validator("price", mode="before")
    @classmethod
    def in_cents(cls, value: float) -> int:
        return round(value * 100)


class Bill(BaseModel):
    lines: list[Cents]


class Doubled(BaseModel):
    x: Annotated[int, AfterValidator(lambda x: 2 * x)]


class Shouted(BaseModel):
    text: str
    words: set[str] = set()

    @field_validator("text")
    @classmethod
    def shout(cls, value: str) -> str:
        return value.upper()


class OneWay(BaseModel):
    """Can be written, but not read."""

    day: date

    @field_validator("day", mode="before")
    @classmethod
    def only_dates(cls, value: Any) -> date:
        if not isinstance(value, date):
            raise ValueError("a date, please")
        return value


class Raw64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")
    data: bytes


class Utf8(BaseModel):
    data: bytes


class Binaries(BaseModel):
    text: bytes
    all: dict[str, list[Utf8]]


class Clash(BaseModel):
    first: str = Field(validation_alias=AliasPath("names", 0))
    names: list[str] = []


def secret(text: str) -> SecretStr:
    return SecretStr(text)


REX = Barking(name="Rex", bark="wow")


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (Login(password=secret("tiger")), "$.password", "a secret is written as **********, and its value lost"),
        ([Login(password=secret("tiger"))], "$[0].password", "get_secret_value()"),
        (Keys(logins={"a": [Login(password=secret("tiger"))]}), "$.logins.a[0].password", "secret"),
        (Keys(key=SecretBytes(b"x")), "$.key", "secret"),
        (Keys(pin=Secret(1234)), "$.pin", "secret"),
        (Job(Login(password=secret("tiger"))), "$.login.password", "secret"),
        (Bare(secret("tiger")), "$.password", "SecretStr is a secret"),
        ({"a": SecretBytes(b"x")}, "$.a", "SecretBytes is a secret"),
        (Noted(name="a", note="b"), "$.note", "the field is excluded"),
        ({"a": Noted(name="a", must=4)}, "$.a.must", "the field is excluded"),
        (Odd(x=6), "$.x", "the field is excluded"),
        (Zoo(star=REX), "$.star", "a Barking, where the annotation says Animal: bark would be lost"),
        (Zoo(all=[Animal(name="a"), REX]), "$.all[1]", "annotate it as Animal | Barking"),
        (Zoo(by_name={"rex": REX}), "$.by_name.rex", "bark would be lost"),
        (
            OpenZoo(anything={"a": [np.int64(3)]}),
            "$.anything.a[0]",
            "numpy.int64 can't be written as JSON; pass value.item()",
        ),
        (OpenZoo(anything=np.array([3])), "$.anything", "numpy.ndarray can't be written as JSON; pass value.tolist()"),
        (Cage(REX), "$.inside", "bark would be lost"),
        (Cents(price=5), "$", "the validators of Cents change its values again when it is read"),
        ([Bill(lines=[Cents(price=5)])], "$[0]", "the validators of Bill change its values again"),
        (Doubled(x=5), "$", "the validators of Doubled"),
        (Raw64(data=b"abc"), "$.data", "ser_json_bytes='base64', val_json_bytes='base64'"),
        ([Utf8(data=b"\xff")], "$[0].data", "bytes that aren't UTF-8"),
        (Binaries(text=b"a", all={"k": [Utf8(data=b"a"), Utf8(data=b"\xff")]}), "$.all.k[1].data", "ser_json_bytes"),
        (make_value(Clash, names=["a"]), "$", "the alias of first is the name of another field, names"),
    ],
    ids=lambda part: str(part)[:40] if isinstance(part, str) else type(part).__name__,
)
def test_what_would_be_lost_is_refused_with_its_path(value: Any, path: str, reason: str) -> None:
    with pytest.raises(Unserializable) as refused:
        encode(value)
    assert refused.value.path == path
    assert reason in refused.value.reason
    assert "tiger" not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        Login(password=secret("")),
        Noted(name="a"),
        Shouted(text="a", words={"b", "c", "d"}),
        Odd(x=5),
        Zoo(star=Animal(name="a"), all=[Animal(name="b")]),
        OpenZoo(anything={"x": 1}, star=Animal(name="a"), either=REX),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_loses_nothing_is_written(value: Any) -> None:
    assert decode(encode(value), type(value)) == value


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda: OpenZoo(anything=REX), {"anything": {"name": "Rex", "bark": "wow"}, "star": None, "either": None}),
        (lambda: OpenZoo(star=REX), {"anything": None, "star": {"name": "Rex", "bark": "wow"}, "either": None}),
        (lambda: OneWay(day=date(2026, 1, 2)), {"day": "2026-01-02"}),
        (lambda: Zoo(star=Quiet(name="a")), {"star": {"name": "a"}, "all": [], "by_name": {}}),
    ],
)
def test_what_is_written_need_not_be_readable_but_is_whole(make: Callable[[], Any], written: Any) -> None:
    assert decode(encode(make())) == written
