"""The types of arguments and options: times, durations, statuses, ids, function names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from durablecli.cli.clients import HubChoice, open_client

if TYPE_CHECKING:  # only named: a verb imports the client when it has parsed its arguments
    from durablecli.client import HubClient, PublishedFunctions

STATUSES = ("Pending", "Running", "Suspended", "Completed", "Failed", "Terminated")
STATUSES_HELP = f"{', '.join(STATUSES)}; several with commas"


class DurationParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A duration: `90` (seconds), `10m`, `1h30m` or `30d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from durablecli.errors import UsageError
        from durablecli.model.time_spans import parse_duration

        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class TimeParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """An ISO 8601 date or time; UTC if it names no zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from durablecli.errors import UsageError
        from durablecli.parsing import parse_time

        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class PastTimeParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A time as `TimeParam` takes it, or a duration such as `1h`: that long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from durablecli.errors import UsageError
        from durablecli.parsing import parse_time_or_age

        if isinstance(value, datetime):
            return value
        try:
            return parse_time_or_age(value, datetime.now(UTC))
        except UsageError as error:
            self.fail(str(error), param, ctx)


class StatusesParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Comma-separated runtime statuses, in upper or lower case."""

    name = "statuses"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        known = {status.lower(): status for status in STATUSES}
        words = [word.strip() for word in value.split(",") if word.strip()]
        wrong = next((word for word in words if word.lower() not in known), None)
        if wrong is not None or not words:
            self.fail(f"invalid status '{wrong or value}'; use {', '.join(STATUSES)}", param, ctx)
        return tuple(known[word.lower()] for word in words)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        done, comma, last = incomplete.rpartition(",")
        return [CompletionItem(done + comma + word) for word in STATUSES if word.lower().startswith(last.lower())]


class InstanceIdParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """An instance id; the shell completes the ids in the hub."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from durablecli.errors import UsageError
        from durablecli.model.ids import check_instance_id

        if (verb := _ENTITY_VERBS.get(ctx.info_name or "") if ctx else None) and _is_entity_id(value):
            raise UsageError(f"{value} is an entity: use 'durable {verb}'")
        try:
            return check_instance_id(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from durablecli.client import Query
        from durablecli.errors import DurableError

        try:
            page = _open_client(ctx).page(Query(prefix=incomplete, limit=50, hides_internal=True))
        except (DurableError, OSError):
            return []  # completion must not print errors
        return [CompletionItem(row.id, help=f"{row.name} {row.status}") for row in page.rows]


class EntityIdParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """An entity id such as `@counter@a`; the shell completes the ids in the hub."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from durablecli.errors import UsageError
        from durablecli.model.entity_id import to_entity_id

        try:
            return str(to_entity_id(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from durablecli.client import Query
        from durablecli.errors import DurableError

        try:
            page = _open_client(ctx).list_entities(Query(prefix=incomplete, limit=50))
        except (DurableError, OSError):
            return []  # completion must not print errors
        return [CompletionItem(row.id, help=row.status) for row in page.rows]


class OperationNameParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """An operation of the entity named before it; the shell completes those of its class."""

    name = "operation"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from durablecli.model.validation import check_name

        return check_name(value, "an operation")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from durablecli.model.entity_id import EntityId

        published = _read_published(ctx)
        operations = published and published.operations(EntityId.parse(ctx.params["entity"]).name)
        return [CompletionItem(each) for each in operations or () if each.startswith(incomplete)]


class EventNameParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """An external event; the shell completes those that the instance named before it waits for."""

    name = "event"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from durablecli.errors import UsageError

        if not value:
            raise UsageError("the event name is empty")
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from durablecli.errors import DurableError

        try:
            status = _open_client(ctx).get_status(ctx.params["instance"], show_input=False)
        except (DurableError, OSError, KeyError):
            return []  # completion must not print errors
        names = dict.fromkeys(one.name for one in status.waiting_for if one.kind == "event" and one.name)
        return [CompletionItem(each) for each in names if each.casefold().startswith(incomplete.casefold())]


class FunctionNameParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """The name of a function of one kind; the shell completes those that the last engine had loaded."""

    name = "function"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        published = _read_published(ctx)
        names = published.names(self.kind) if published else []
        return [CompletionItem(name) for name in names if name.casefold().startswith(incomplete.casefold())]


def _read_published(ctx: click.Context) -> PublishedFunctions | None:
    """Return the functions that the last engine had loaded; None if that can't be read."""
    from durablecli.errors import DurableError

    try:
        return _open_client(ctx).published()
    except (DurableError, OSError):
        return None


class AnyIdParam(InstanceIdParam):
    """An instance id or an entity id."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return (
            EntityIdParam().convert(value, param, ctx) if _is_entity_id(value) else super().convert(value, param, ctx)
        )

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("@"):
            return EntityIdParam().shell_complete(ctx, param, incomplete)
        return super().shell_complete(ctx, param, incomplete)


_ENTITY_VERBS = {
    "history": "entity history",
    "purge": "entity purge",
    "raise-event": "entity signal",
    "terminate": "entity delete",
} | dict.fromkeys(("wait", "suspend", "resume", "rewind", "restart"), "entity get")
"""The verb for entities that corresponds to a verb for instances."""


def _is_entity_id(value: object) -> bool:
    return isinstance(value, str) and value[:1] == "@" and "@" in value[1:]


def _open_client(ctx: click.Context) -> HubClient:
    """Return the client of the hub that the options before the argument name."""
    return open_client(HubChoice(ctx.params.get("state_dir"), ctx.params.get("engine")))
