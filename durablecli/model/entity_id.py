"""The id of an entity: the name of its function, and its key."""

from __future__ import annotations

import re
from functools import total_ordering

from durablecli.errors import UsageError
from durablecli.limits import MAX_ID_LENGTH

INTERNAL_ENTITY_PREFIX = "@builtin__"
"""What the ids of durablecli's own entities begin with, such as those of schedules."""

_find_control_character = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_find_surrogate = re.compile(r"[\ud800-\udfff]").search

ENTITY_ID_SEPARATOR = "@"
"""The first character of entity ids; ids of orchestrations never begin with it."""


@total_ordering
class EntityId:
    """One entity, as `@counter@a`: `name` is its function's, without case and kept in lower case; the key has case.

    They are hashable, and sorted in the order in which a critical section locks. Raises ValueError.
    """

    __slots__ = ("_key", "_name")

    def __init__(self, name: str, key: str) -> None:
        if not isinstance(name, str) or not isinstance(key, str):
            raise TypeError("the name and the key of an entity are strings")
        name, key = str.__str__(name), str.__str__(key)  # of a subclass: a plain str is kept
        if not name:
            raise ValueError("Entity name cannot be empty")
        if not key:
            raise ValueError("Entity key cannot be empty")
        if ENTITY_ID_SEPARATOR in name:
            raise ValueError(f"Entity name cannot contain {ENTITY_ID_SEPARATOR}: {name!r}")
        self._name = name.lower()
        self._key = key
        _check_id(str(self))

    @classmethod
    def parse(cls, text: str) -> EntityId:
        """Parse `@name@key`; the key may contain `@`."""
        plain = str.__str__(text) if isinstance(text, str) else ""
        name, sign, key = plain[1:].partition(ENTITY_ID_SEPARATOR)
        if not sign or plain[0] != ENTITY_ID_SEPARATOR:
            raise ValueError(f"Unexpected format in SchedulerId: {text!r}")
        return cls(name, key)

    @property
    def name(self) -> str:
        return self._name

    @property
    def key(self) -> str:
        return self._key

    entity = name

    @staticmethod
    def get_scheduler_id(entity_id: EntityId) -> str:
        """Return `@name@key`."""
        return str(entity_id)

    @staticmethod
    def get_entity_id(scheduler_id: str) -> EntityId:
        """Parse `@name@key`, as `parse` does."""
        return EntityId.parse(scheduler_id)

    @staticmethod
    def get_entity_id_url_path(entity_id: EntityId) -> str:
        """Return `entities/name/key`, as in URLs of the HTTP API."""
        return f"entities/{entity_id.name}/{entity_id.key}"

    def __str__(self) -> str:
        return f"{ENTITY_ID_SEPARATOR}{self._name}{ENTITY_ID_SEPARATOR}{self._key}"

    def __repr__(self) -> str:
        return f"EntityId({self._name!r}, {self._key!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EntityId) and (self._name, self._key) == (other._name, other._key)

    def __lt__(self, other: EntityId) -> bool:
        return (self._name, self._key) < (other._name, other._key)

    def __hash__(self) -> int:
        return hash((self._name, self._key))


def _check_id(text: str) -> None:
    if len(text) > MAX_ID_LENGTH:
        raise ValueError(f"the id of an entity must not exceed {MAX_ID_LENGTH} characters")
    if _find_control_character(text):
        raise ValueError("the id of an entity must not contain control characters")
    if not text.isascii() and _find_surrogate(text):
        raise ValueError("the id of an entity must be valid Unicode; this one holds a lone surrogate")


def is_entity_id(id: str) -> bool:
    """Whether an id is an entity's."""
    return id[:1] == ENTITY_ID_SEPARATOR


def parse_entity_name(id: str) -> str:
    """Return the name in an entity's id."""
    return id[1 : id.index(ENTITY_ID_SEPARATOR, 1)]


def to_entity_id(entity: EntityId | str) -> EntityId:
    """Return the id of an entity that is given as an EntityId, as that of the durabletask SDK or as `@name@key`.

    Raises UsageError.
    """
    if type(entity) is EntityId:
        return entity
    if isinstance(entity, EntityId):
        return EntityId(entity.name, entity.key)
    try:
        return EntityId.parse(entity if isinstance(entity, str) else str(entity))
    except (ValueError, TypeError) as error:
        if isinstance(entity, str) and ENTITY_ID_SEPARATOR in entity[1:] and entity[0] != ENTITY_ID_SEPARATOR:
            raise UsageError(f"{entity!r} is no entity id; did you mean '@{entity}'?") from None
        text = f"{entity!r} is no entity id" if _is_malformed(entity) else str(error)
        raise UsageError(f"{text}; name the entity as @name@key, for example @counter@a") from None


def _is_malformed(entity: object) -> bool:
    text = entity if isinstance(entity, str) else str(entity)
    return text[:1] != ENTITY_ID_SEPARATOR or ENTITY_ID_SEPARATOR not in text[1:]
