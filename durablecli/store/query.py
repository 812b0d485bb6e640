"""Queries over instances: filters, an order, and a cursor that continues after the last page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from durablecli.errors import UsageError
from durablecli.model.entity_id import INTERNAL_ENTITY_PREFIX, is_entity_id
from durablecli.model.hook_delivery import HOOK_PREFIX
from durablecli.model.status import InstanceSummary

SORT_FIELDS = ("created", "updated", "name", "id", "status")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_CHARACTER = 0x10FFFF


class Query(msgspec.Struct, frozen=True):
    """Filters and order of a list of instances. Filters combine; `status` holds the wanted ones, empty means all.

    `entities` selects only entities; without it there are none among the rows. `locked` and `blocked` select only such
    rows; a quarantined one counts as blocked. `hides_internal` leaves out durablecli's own entities, unless `name` or
    `prefix` asks for them. `created_after` and `created_before` are both inclusive. `tags` selects
    the rows that have all of these tags, `parent` the sub-orchestrations of an instance, and `roots_only` those that
    are no sub-orchestration, nor the delivery of an event to a hook unless `name` asks for these. By `created` and
    `updated` the newest come first, by `name`, `id` and `status` the lowest; `reverse` reverses that. `cursor` is that
    of the page before.
    """

    name: str | None = None
    status: tuple[str, ...] = ()
    prefix: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    parent: str | None = None
    sort: str = "created"
    reverse: bool = False
    limit: int = 100
    cursor: str | None = None
    entities: bool = False
    locked: bool = False
    blocked: bool = False
    tags: dict[str, str] = {}
    roots_only: bool = False
    hides_internal: bool = False

    @property
    def is_descending(self) -> bool:
        return (self.sort in ("created", "updated")) != self.reverse

    @property
    def hidden_prefix(self) -> str | None:
        """The beginning of ids that don't match: of deliveries to hooks, or of durablecli's own entities."""
        hides, hidden = (
            (self.hides_internal, INTERNAL_ENTITY_PREFIX) if self.entities else (self.roots_only, HOOK_PREFIX)
        )
        return hidden if hides and self.name is None and not self.prefix.startswith(hidden) else None

    def matches(self, row: InstanceSummary) -> bool:
        """Return whether a row passes the filters, regardless of the cursor."""
        return (
            is_entity_id(row.id) == self.entities
            and (self.name is None or row.name.casefold() == self.name.casefold())
            and (not self.status or row.status in self.status)
            and row.id.startswith(self.prefix)
            and (self.created_after is None or row.created >= self.created_after)
            and (self.created_before is None or row.created <= self.created_before)
            and (self.parent is None or row.parent == self.parent)
            and not (self.roots_only and row.parent is not None)
            and ((hidden := self.hidden_prefix) is None or not row.id.startswith(hidden))
            and self.tags.items() <= row.tags.items()
            and not (self.locked and row.locked_by is None)
            and not (self.blocked and row.blocked is None and row.set_aside is None)
        )

    def sort_key(self, row: InstanceSummary) -> tuple[str | int, str]:
        """Return the sort key: the sorted value, then the id."""
        value = getattr(row, self.sort)
        return (to_micros(value) if isinstance(value, datetime) else value), row.id

    def make_cursor(self, row: InstanceSummary) -> str:
        """Return the cursor that continues after a row."""
        return self._encode_cursor(*self.sort_key(row))

    def make_cursor_at(self, time: datetime) -> str:
        """Return the cursor of a list in the order of times that continues with the rows of this time and later."""
        return self._encode_cursor(to_micros(time), "")

    def after(self, cursor: str | None) -> Query:
        """Return the same query, continued after a cursor; None begins it."""
        return msgspec.structs.replace(self, cursor=cursor)

    def _encode_cursor(self, value: str | int, instance: str) -> str:
        text = msgspec.json.encode((f"{self.sort}{'-' if self.reverse else ''}", value, instance))
        return base64.urlsafe_b64encode(text).decode()

    def is_after_cursor(self, row: InstanceSummary) -> bool:
        """Return whether a row comes after the cursor."""
        last = self.cursor_key()
        if last is None:
            return True
        key = _comparable(self.sort_key(row))
        return key < _comparable(last) if self.is_descending else key > _comparable(last)

    def cursor_key(self) -> tuple[str | int, str] | None:
        """Decode the cursor to a key; raise UsageError if it belongs to another order or is invalid."""
        if self.cursor is None:
            return None
        try:
            sort, value, instance = _decode_cursor(base64.urlsafe_b64decode(self.cursor.encode()))
        except (msgspec.MsgspecError, binascii.Error, ValueError):
            raise UsageError("invalid cursor; list again without it") from None
        if sort != f"{self.sort}{'-' if self.reverse else ''}":
            raise UsageError(f"the cursor belongs to a list sorted by {sort}; list again without it")
        return value, instance


_decode_cursor = msgspec.json.Decoder(tuple[str, str | int, str]).decode


class Page(msgspec.Struct, frozen=True):
    """Some rows, and the cursor for the next page; None at the end."""

    rows: list[InstanceSummary]
    cursor: str | None


def to_micros(time: datetime) -> int:
    """Convert a time to the index's format: microseconds since 1970, UTC."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """Convert microseconds since 1970, as stored in the index, to a time."""
    return _EPOCH + timedelta(microseconds=value)


def encode_tags(tags: dict[str, str]) -> str | None:
    """Encode tags for the index: a line each, with a line end before and after each, so that one is found as text."""
    return "\n".join(["", *(f"{key}={value}" for key, value in tags.items()), ""]) if tags else None


def decode_tags(text: str | None) -> dict[str, str]:
    """Decode tags as stored in the index."""
    if text is None:
        return {}
    parts = (line.partition("=") for line in text[1:-1].split("\n"))
    return {key: value for key, _, value in parts}


def make_page(query: Query, rows: list[InstanceSummary]) -> Page:
    """Make the page of sorted rows; one row more than the limit means that another page follows."""
    if len(rows) <= query.limit:
        return Page(rows, None)
    rows = rows[: query.limit]
    return Page(rows, query.make_cursor(rows[-1]))


def sort_rows(query: Query, rows: Iterable[InstanceSummary]) -> list[InstanceSummary]:
    """Sort rows in the order that the index would return."""
    return sorted(rows, key=lambda row: _comparable(query.sort_key(row)), reverse=query.is_descending)


def compile_count(query: Query, matching_names: Sequence[str] = ()) -> tuple[str, tuple[object, ...]]:
    """Compile the WHERE clause of the filters, and its values.

    `matching_names` are the names in the table that equal the wanted one except for case, which sqlite can only compare
    for ASCII.
    """
    wanted = _filters(query, matching_names)
    return _where_clause([clause for clause, _ in wanted]), tuple(value for _, values in wanted for value in values)


def compile_page(query: Query, matching_names: Sequence[str] = ()) -> tuple[str, tuple[object, ...]]:
    """Compile WHERE with the cursor, and ORDER BY. `matching_names` as in `compile_count`."""
    if query.sort not in SORT_FIELDS:
        raise UsageError(f"a list can't be sorted by {query.sort!r}, only by {', '.join(SORT_FIELDS)}")
    if query.limit < 1:
        raise UsageError("a page holds at least one row")
    wanted = _filters(query, matching_names)
    last = query.cursor_key()
    sign, direction = ("<", "DESC") if query.is_descending else (">", "ASC")
    if last is not None:
        wanted.append((f"({query.sort}, id) {sign} (?, ?)", last))
    order = f"{query.sort} {direction}, id {direction}" if query.sort != "id" else f"id {direction}"
    where = _where_clause([clause for clause, _ in wanted])
    return f"{where} ORDER BY {order}", tuple(value for _, values in wanted for value in values)


def _where_clause(clauses: list[str]) -> str:
    return f"WHERE {' AND '.join(clauses)}"


def _filters(query: Query, matching_names: Sequence[str]) -> list[tuple[str, tuple[object, ...]]]:
    # With a parent, `children` is the index to use, and the plus sign keeps sqlite from using another one.
    first = "entity = ?" if query.parent is None else "+entity = ?"
    found: list[tuple[str, tuple[object, ...]]] = [(first, (query.entities,))]
    if query.name is not None:
        # by_name holds the rows of one name in the order of `created`; those of several would have to be sorted.
        wanted = "name = ?" if len(matching_names) == 1 else f"+name IN ({', '.join('?' * len(matching_names))})"
        found.append((wanted, tuple(matching_names)))
    if query.status:
        # by_status holds the rows of one status in the order of `created`; for other queries it would only add a sort,
        # and the plus sign keeps sqlite from using it.
        plus = "" if len(query.status) == 1 and query.sort == "created" else "+"
        found.append((f"{plus}status IN ({', '.join('?' * len(query.status))})", query.status))
    if query.prefix:
        found.append(("id >= ?", (query.prefix,)))
        end = _after_prefix(query.prefix)
        if end is not None:
            found.append(("id < ?", (end,)))
    if query.created_after is not None:
        found.append(("created >= ?", (to_micros(query.created_after),)))
    if query.created_before is not None:
        found.append(("created <= ?", (to_micros(query.created_before),)))
    if query.parent is not None:
        found.append(("parent = ?", (query.parent,)))
    if query.roots_only:
        found.append(("parent IS NULL", ()))
    if (hidden := query.hidden_prefix) is not None:
        found.append(("(id < ? OR id >= ?)", (hidden, _after_prefix(hidden))))
    found += (("instr(tags, ?)", (encode_tags({key: value}),)) for key, value in query.tags.items())
    if query.locked:
        found.append(("locked_by IS NOT NULL", ()))
    if query.blocked:
        found.append(("blocked IS NOT NULL", ()))
    return found


def _after_prefix(prefix: str) -> str | None:
    """Return the lowest text above all that begin with `prefix`; None if there is none."""
    while prefix and ord(prefix[-1]) == _LAST_CHARACTER:
        prefix = prefix[:-1]
    if not prefix:
        return None
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)


def _comparable(key: tuple[str | int, str]) -> tuple[int, str, str]:
    """Convert a key so that numbers and texts compare as in the index; texts by code point, as their UTF-8 does."""
    value, instance = key
    return (value, "", instance) if isinstance(value, int) else (0, value, instance)
