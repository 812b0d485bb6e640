"""The entries of a log as lines for people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from durablecli.cli.output import Output

if TYPE_CHECKING:
    from durablecli.client import LogEntry

_LEVEL_COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
_MAX_SOURCE_WIDTH = 24


class LogText:
    """Prints entries: the time, the source and the text. Further lines of a text are indented."""

    def __init__(self, output: Output, known: Iterable[LogEntry] = (), *, utc: bool = False) -> None:
        """The column of the sources is as wide as those of the `known` entries; others make it wider."""
        self._output = output
        self._zone = UTC if utc else None
        self._source_width = 0
        for entry in known:
            self._make_room(describe_source(entry))

    def print_entry(self, entry: LogEntry) -> None:
        """Print one entry."""
        output = self._output
        source = describe_source(entry)
        self._make_room(source)
        first, *others = entry.text.split("\n")
        if entry.logger is not None or entry.source == "engine":
            first = f"{entry.level} {first}"
        color = _LEVEL_COLORS.get(entry.level)
        head = f"{self._format_time(entry.at)}  {source.ljust(self._source_width)}  "
        output.print_styled(output.style(head, "bright_black") + output.style(first, color))
        for line in others:
            output.print_styled("    " + output.style(line, color))

    def _make_room(self, source: str) -> None:
        self._source_width = min(max(self._source_width, len(source)), _MAX_SOURCE_WIDTH)

    def _format_time(self, at: datetime) -> str:
        """Format a time of today as `09:00:05.123`, any other with its date."""
        local, now = at.astimezone(self._zone), datetime.now(UTC).astimezone(self._zone)
        text = f"{local:%H:%M:%S}.{local.microsecond // 1000:03}{'Z' if self._zone else ''}"
        return text if local.date() == now.date() else f"{local:%Y-%m-%d} {text}"


def describe_source(entry: LogEntry) -> str:
    """Return `name`, for an activity or operation with its number, and with the attempt if it isn't the first."""
    number = "" if entry.id is None else f" {entry.id}"
    attempt = f" attempt {entry.attempt}" if entry.attempt is not None and entry.attempt > 1 else ""
    return f"{entry.name or entry.source}{number}{attempt}"
