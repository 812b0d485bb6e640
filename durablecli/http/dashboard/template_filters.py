"""What templates use to show values: times, durations, numbers, and the URLs of pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from durablecli.client.wait_summary import summarize_waits
from durablecli.durations import format_length
from durablecli.model.entity_id import is_entity_id
from durablecli.model.status import PendingWait
from durablecli.model.traceback_text import SourceLine
from durablecli.plurals import format_size
from durablecli.project import display_source_path


def instance_url(id: str) -> str:
    """The URL of the page of an instance or an entity."""
    return f"/ui/{'entities' if is_entity_id(id) else 'instances'}/{quote(id, safe='')}"


def query_url(values: dict[str, Any], path: str = "/") -> str:
    """A URL with a query; what is empty is left out."""
    given = {name: value for name, value in values.items() if value not in ("", None, False, (), [])}
    text = urlencode({name: "1" if value is True else value for name, value in given.items()}, doseq=True)
    return f"{path}?{text}" if text else path


def format_number(value: int) -> str:
    """A number with separators: 12,345."""
    return f"{value:,}"


def format_seconds(seconds: float) -> str:
    """A number of seconds as a duration."""
    return format_length(timedelta(seconds=seconds))


def format_ago(value: datetime, now: datetime) -> str:
    """How long ago a time is, or in what time it comes."""
    seconds = (now - value).total_seconds()
    if -1 < seconds < 1:
        return "just now"
    if seconds < 0:
        return f"in {format_seconds(-seconds)}"
    largest = format_seconds(int(seconds)).split(" ")[:2] if seconds >= 10 else [str(int(seconds)), "s"]
    return f"{' '.join(largest)} ago"


def time_tag(value: datetime | None, now: datetime) -> Markup:
    """A `<time>` that says how long ago it is; its title is the exact time, which the script puts in the local zone."""
    if value is None:
        return Markup("")
    return Markup('<time datetime="{}" title="{} UTC" data-ago>{}</time>').format(
        format_iso(value),
        value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        format_ago(value, now),
    )


def format_iso(value: datetime) -> str:
    """A time as scripts read it: 2026-12-01T09:00:00.000Z."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_place(value: SourceLine) -> Markup:
    """A place in source code, relative to the project: workflows/tour.py:41. Its title is the whole path."""
    return Markup('<span class="source" title="{}:{}">{}:<wbr>{}</span>').format(
        value.file, value.line, display_source_path(value.file), value.line
    )


def format_class(name: str) -> str:
    """The name of a class without its module: JSONDecodeError."""
    return name.rpartition(".")[2]


def format_first_wait(waiting: Sequence[PendingWait], now: datetime) -> str:
    """What an instance waits for first, and the number of its further waits."""
    return summarize_waits(waiting, lambda at: format_ago(at, now))


FILTERS = {
    "ago": time_tag,
    "bytes": format_size,
    "class_name": format_class,
    "duration": format_length,
    "first_wait": format_first_wait,
    "instance_url": instance_url,
    "iso": format_iso,
    "number": format_number,
    "place": format_place,
    "query_url": query_url,
    "seconds": format_seconds,
}
