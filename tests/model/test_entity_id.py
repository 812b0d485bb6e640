"""Ids of entities: which are allowed, how they are written, and their order."""

from __future__ import annotations

from typing import Any

import pytest

from durablecli.errors import UsageError
from durablecli.model.entity_id import EntityId, is_entity_id, to_entity_id


def test_an_entity_is_named_without_case_and_its_key_with() -> None:
    entity = EntityId("Counter", "A")
    assert (entity.name, entity.entity, entity.key, str(entity)) == ("counter", "counter", "A", "@counter@A")
    assert entity == EntityId("COUNTER", "A") != EntityId("counter", "a")
    assert len({entity, EntityId("counter", "A"), EntityId("counter", "a")}) == 2
    assert repr(entity) == "EntityId('counter', 'A')"
    assert entity != "@counter@A"


def test_entities_are_ordered_by_name_and_then_by_key() -> None:
    ordered = [EntityId("a", "z"), EntityId("b", "A"), EntityId("b", "a")]
    assert sorted([*ordered[1:], ordered[0]]) == ordered
    assert ordered[0] <= ordered[1]


@pytest.mark.parametrize("text", ["@counter@a", "@counter@a@b", "@counter@@", "@ü@ü", "@counter@a/b", "@c@ "])
def test_what_is_written_is_read_back(text: str) -> None:
    entity = EntityId.parse(text)
    assert str(entity) == EntityId.get_scheduler_id(entity) == text
    assert EntityId.get_entity_id(text) == EntityId(entity.name, entity.key) == entity
    assert is_entity_id(text)


def test_the_path_of_the_http_api_is_known() -> None:
    assert EntityId.get_entity_id_url_path(EntityId("Counter", "a")) == "entities/counter/a"


@pytest.mark.parametrize(
    ("name", "key", "text"),
    [
        ("", "a", "Entity name cannot be empty"),
        ("counter", "", "Entity key cannot be empty"),
        ("a@b", "a", "cannot contain @"),
        ("counter", "k" * 248, "must not exceed 256 characters"),
        ("counter", "a\n", "control characters"),
        ("counter", "\x7f", "control characters"),
        ("counter", "\x9f", "control characters"),
        ("count\x00er", "a", "control characters"),
        ("counter", "\ud800", "lone surrogate"),
        ("counter", "ü\udfff", "lone surrogate"),
    ],
)
def test_what_an_entity_cannot_be_named(name: str, key: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        EntityId(name, key)


def test_a_name_and_a_key_may_fill_the_whole_length() -> None:
    assert len(str(EntityId("counter", "k" * 247))) == 256


@pytest.mark.parametrize(("name", "key"), [(1, "a"), ("counter", 1), (None, None)])
def test_names_and_keys_are_strings(name: Any, key: Any) -> None:
    with pytest.raises(TypeError, match="strings"):
        EntityId(name, key)


@pytest.mark.parametrize("wrong", ["", "@", "counter", "counter@a", "@counter", "@@a", "@counter@", 5, None, b"@a@b"])
def test_an_invalid_entity_id_is_refused_with_an_example(wrong: Any) -> None:
    with pytest.raises(UsageError, match="@counter@a"):
        to_entity_id(wrong)


def test_an_entity_is_given_by_its_id_or_by_text() -> None:
    entity = EntityId("counter", "a")
    assert to_entity_id(entity) is entity
    assert to_entity_id("@Counter@a") == entity


@pytest.mark.parametrize("id", ["", "counter", "a@b"])
def test_an_orchestration_is_no_entity(id: str) -> None:
    assert not is_entity_id(id)
