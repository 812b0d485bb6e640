"""The state of a class entity is read back unchanged, or rejected: pydantic objects, subclasses, secrets."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from pydantic import BaseModel, Field, SecretStr

from durablecli.entities.class_state import make_state_fields
from durablecli.entities.context import DurableEntityContext, EntityOperationState
from durablecli.errors import Unserializable
from durablecli.model.entity_id import EntityId
from durablecli.model.events import ABSENT, NULL
from durablecli.model.payloads import decode

LIMIT = 1024 * 1024


class Customer(BaseModel):
    customer_no: int = Field(alias="customerNo")


@dataclasses.dataclass
class Animal:
    name: str


@dataclasses.dataclass
class Dog(Animal):
    bark: str = "wow"


class Plain:
    customers: list[Customer] = []  # noqa: RUF012 - it is copied for each object
    star: Animal | None = None
    all: dict[str, Animal] = {}  # noqa: RUF012
    by_number: dict[int, Path] = {}  # noqa: RUF012
    secret: SecretStr | None = None


class Packed(msgspec.Struct):
    star: Animal | None = None


def make_context(state: Raw) -> DurableEntityContext:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return DurableEntityContext(EntityOperationState(EntityId("any", "a"), "any", NULL, state, LIMIT, at))


def make_entity(kind: type, state: Raw = ABSENT) -> Any:
    return make_state_fields(kind).load(state, make_context(state))


def test_attributes_come_back_by_their_annotations() -> None:
    subject = make_entity(Plain)
    subject.customers.append(decode(b'{"customerNo":7}', Customer))
    subject.by_number[1] = Path("a")
    again = make_entity(Plain, make_state_fields(Plain).save(subject, LIMIT))
    assert (again.customers, again.by_number) == (subject.customers, {1: Path("a")})


@pytest.mark.parametrize(
    ("kind", "name", "value", "path", "reason"),
    [
        (Plain, "star", Dog("Rex"), "$.star", "a Dog, where the annotation says Animal: bark would be lost"),
        (Plain, "all", {"rex": Dog("Rex")}, "$.all.rex", "bark would be lost"),
        (Packed, "star", Dog("Rex"), "$.star", "bark would be lost"),
        (Plain, "secret", SecretStr("x"), "$.secret", "SecretStr is a secret"),
    ],
)
def test_an_attribute_that_would_not_come_back_is_refused(
    kind: type, name: str, value: Any, path: str, reason: str
) -> None:
    subject = make_entity(kind)
    setattr(subject, name, value)
    with pytest.raises(Unserializable) as refused:
        make_state_fields(kind).save(subject, LIMIT)
    assert (refused.value.path, reason in refused.value.reason) == (path, True)
