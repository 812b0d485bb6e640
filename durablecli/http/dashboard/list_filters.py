"""The filters and the order of the list of instances, which are parameters of its URL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from durablecli.client import Query
from durablecli.errors import UsageError
from durablecli.http.dashboard.template_filters import query_url
from durablecli.http.responses import ApiError
from durablecli.parsing import parse_tags, parse_time_or_age

PAGE_SIZE = 50
SORT_FIELDS = ("created", "updated", "name", "id", "status")
STATUSES = ("Running", "Pending", "Suspended", "Failed", "Completed", "Terminated")
BLOCKED = "Blocked"
"""In the place of a status: those that the engine can't run, blocked or quarantined."""


class ListFilters(msgspec.Struct, frozen=True):
    """What the URL says; all texts may be empty.

    `after` and `before` are a time, or how long ago as `2h`, which moves on with the clock; `tag` is `key=value`. With
    `all` the list has sub-orchestrations as well.
    """

    status: str = ""
    name: str = ""
    prefix: str = ""
    tag: str = ""
    after: str = ""
    before: str = ""
    all: bool = False
    sort: str = "created"
    reverse: bool = False
    cursor: str = ""

    @property
    def is_filtered(self) -> bool:
        return any((self.status, self.name, self.prefix, self.tag, self.after, self.before))

    def to_values(self) -> dict[str, str]:
        """The values of a form or a URL that are needed for these filters."""
        values = msgspec.structs.asdict(self)
        given = {key: value for key, value in values.items() if value and (key, value) != ("sort", "created")}
        return {key: "1" if value is True else value for key, value in given.items()}

    def url(self, **changes: Any) -> str:
        """The URL of the list with other filters. Unless they have a cursor, it begins at the first page."""
        return query_url(msgspec.structs.replace(self, **{"cursor": "", **changes}).to_values())

    def to_query(self, now: datetime, *, limit: int = PAGE_SIZE) -> Query:
        """The query for these filters; raises ApiError for a time or a tag that is none."""
        return Query(
            name=self.name or None,
            status=(self.status,) if self.status not in ("", BLOCKED) else (),
            prefix=self.prefix,
            created_after=_parse_time("Created after", self.after, now),
            created_before=_parse_time("Created before", self.before, now),
            sort=self.sort,
            reverse=self.reverse,
            limit=limit,
            cursor=self.cursor or None,
            blocked=self.status == BLOCKED,
            tags=_parse_tag(self.tag),
            roots_only=not self.all,
        )


def read_filters(get: Callable[[str], str | None]) -> ListFilters:
    """Read the filters from a query or a form; raises ApiError for a status or an order that there isn't."""
    texts: dict[str, Any] = {name: (get(name) or "").strip() for name in ListFilters.__struct_fields__}
    status, sort = texts.pop("status"), texts.pop("sort") or "created"
    found = next((each for each in (*STATUSES, BLOCKED) if each.lower() == status.lower()), "")
    if status and not found:
        raise ApiError(400, f"There is no status '{status[:50]}'. Use one of {', '.join(STATUSES)}.")
    if sort not in SORT_FIELDS:
        raise ApiError(400, f"A list can't be sorted by '{sort[:50]}'. Use one of {', '.join(SORT_FIELDS)}.")
    every, reverse = (texts.pop(name) not in ("", "0", "false") for name in ("all", "reverse"))
    return ListFilters(status=found, all=every, sort=sort, reverse=reverse, **texts)


def _parse_time(label: str, text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    try:
        return parse_time_or_age(text.replace(" ", "T", 1), now).astimezone(UTC)
    except UsageError:
        hint = "Write how long ago, as 15m, 2h or 7d, or a time, as 2026-12-01T09:00 (in UTC)."
        raise ApiError(400, f"{label}: '{text[:50]}' is not a time. {hint}") from None


def _parse_tag(text: str) -> dict[str, str]:
    try:
        return parse_tags([text]) if text else {}
    except UsageError:
        raise ApiError(400, f"Tag: '{text[:50]}' is not a tag. Write it as key=value.") from None
