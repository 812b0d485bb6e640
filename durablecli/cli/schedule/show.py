"""`durable schedule show`: what is declared, what has happened, and the latest runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from durablecli.cli.options import app_option, output_option, state_dir_option
from durablecli.cli.output import Output
from durablecli.cli.schedule_hub import EPILOG, name_argument, open_schedules
from durablecli.cli.time_format import format_age
from durablecli.durations import format_length
from durablecli.model.status import ENDED_STATUSES, InstanceSummary

if TYPE_CHECKING:
    from durablecli.builtin.schedule_catalog import ScheduleView

_MAX_PASSED = 5


@click.command("show", epilog=EPILOG)
@name_argument
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Latest runs to show.")
@app_option
@state_dir_option
@output_option
def command(name: str, limit: int, app: tuple[str, ...], state_dir: str | None, output_format: str | None) -> None:
    """Show a schedule: when it is due, and its latest runs with their outcomes and durations. No daemon is needed."""
    (catalog, _), output = open_schedules(state_dir, app), Output(output_format)
    view, now = catalog.get(name), datetime.now(UTC)
    runs = catalog.runs(view.name, limit)
    if not output.is_human_readable:
        output.print_value(view.payload(now) | {"runs": [_run_payload(row) for row in runs]})
        return
    output.print_line(f"{view.name}  {view.status}")
    for label, text in _describe(view, now):
        output.print_line(f"{label:<10} {text}".rstrip())
    if runs:
        output.print_line()
        rows = [(row.id, row.status, format_age(row.created, now), _format_duration(row, now)) for row in runs]
        output.print_table(("RUN", "STATUS", "STARTED", "DURATION"), rows, status_column=1)


def _describe(view: ScheduleView, now: datetime) -> Iterator[tuple[str, str]]:
    spec, state = view.spec, view.state
    if spec is not None:
        yield "starts", spec.orchestrator
        yield "schedule", f"{spec.schedule}  ({spec.timezone})"
        yield "overlap", spec.overlap
        yield "catch up", "yes" if spec.catch_up else "no"
        if spec.input is not None:
            yield "input", msgspec.json.encode(spec.input).decode()
    if view.declared is not None:
        from durablecli.apps.load_warnings import relative_location

        yield "declared", relative_location(view.declared.location)
    if view.is_changed:
        yield "changed", "the daemon takes over what is declared now when it starts"
    if state.paused_at is not None:
        yield "paused", format_age(state.paused_at, now)
    if (due := view.next_due(now)) is not None and spec is not None:
        yield "next", f"{spec.format_scheduled_time(due)}  ({format_age(due, now)})"
    if state.running:
        yield "running", ", ".join(state.running)
    if state.waiting:
        yield "waiting", f"{len(state.waiting)} due times"
    yield "due times", f"{state.started} started, {state.skipped} skipped, {state.missed} missed"
    if spec is not None:
        for each in state.passed[-_MAX_PASSED:]:
            yield "no run", f"{spec.format_scheduled_time(each.due)}: {each.reason}"


def _format_duration(row: InstanceSummary, now: datetime) -> str:
    return format_length((row.updated if row.status in ENDED_STATUSES else now) - row.created)


def _run_payload(row: InstanceSummary) -> dict[str, Any]:
    ended = row.updated if row.status in ENDED_STATUSES else None
    return {
        "instanceId": row.id,
        "status": row.status,
        "createdTime": row.created,
        "endedTime": ended,
        "seconds": None if ended is None else (ended - row.created).total_seconds(),
    }
