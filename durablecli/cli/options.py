"""The options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, TypeVar

import click

from durablecli.cli.clients import HubChoice
from durablecli.cli.param_types import AnyIdParam, EntityIdParam, InstanceIdParam

F = TypeVar("F", bound=Callable[..., Any])
FORMATS = ("table", "json", "jsonl", "yaml")


def tag_option(help: str) -> Callable[[F], F]:
    """Add `--tag`, which may be given several times; the function receives them as one dict, `tags`."""

    def parse(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
        if not texts:
            return {}
        from durablecli.errors import UsageError
        from durablecli.parsing import parse_tags

        try:
            return parse_tags(texts)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", callback=parse, help=help)


def format_exit_codes(*lines: str) -> str:
    """Return the epilog of a verb's help, which lists its exit codes."""
    return f"Exit codes: {'; '.join(lines)}."


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--state-dir`, `--engine` and `--output`; the function receives the first two as one `hub`."""

    @wraps(function)
    def command(state_dir: str | None, engine: str | None, **options: Any) -> Any:
        return function(hub=HubChoice(state_dir, engine), **options)

    return state_dir_option(engine_option(output_option(command)))


def local_options(function: F) -> F:
    """Add `--state-dir` and `--output`, for commands that need a hub in files."""
    return state_dir_option(output_option(function))


def history_options(function: F) -> F:
    """Add `--full` and `--utc`."""
    return full_option(utc_option(function))


utc_option = click.option("--utc", is_flag=True, help="Show times in UTC. Default: in the local zone.")
full_option = click.option("--full", is_flag=True, help="Show long payloads and messages whole.")
state_dir_option = click.option(
    "--state-dir",
    metavar="DIR",
    help="Folder of the hub. Default: $DURABLE_STATE_DIR, else durable.yaml, else .state, here or in a parent folder.",
)
engine_option = click.option(
    "--engine",
    metavar="URL",
    help="Another engine, which speaks the Durable Task protocol: dts://HOST:PORT[;HUB]. Default: durable.yaml.",
)
output_option = click.option(
    "-o",
    "--output",
    "output_format",
    type=click.Choice(FORMATS),
    help="Output format. Default: table.",
)
app_option = click.option(
    "--app",
    multiple=True,
    metavar="TARGET",
    help="Folder, file or module with functions; repeatable. Default: durable.yaml, else workflows/.",
)
traceback_option = click.option(
    "--traceback",
    "with_traceback",
    is_flag=True,
    help="Show the traceback of a failure, without durablecli's own frames.",
)
id_argument = click.argument("instance", metavar="ID", type=InstanceIdParam())
entity_argument = click.argument("entity", metavar="ID", type=EntityIdParam())
entities_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=EntityIdParam())
any_id_argument = click.argument("instance", metavar="ID", type=AnyIdParam())
any_ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=AnyIdParam())
ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=InstanceIdParam())


def resolve_due_time(at: datetime | None, delay: timedelta | None) -> datetime | None:
    """Return the time that --at or --delay gives; raise UsageError if both are given."""
    from durablecli.errors import UsageError

    if at is not None and delay is not None:
        raise UsageError("--at and --delay exclude each other: give only one of them")
    try:
        return at if delay is None else datetime.now(UTC) + delay
    except OverflowError:
        raise UsageError("--delay is too long: the time would be after the year 9999") from None
