"""`durable functions`: lists the loaded functions with signatures and locations, and what could not be loaded. While an
engine serves remote code, also the functions that its connected workers name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from durablecli.cli.app_loading import load_app, print_code_notice, print_load_warnings
from durablecli.cli.clients import load_settings
from durablecli.cli.options import app_option, format_exit_codes, output_option
from durablecli.cli.output import Output, echo, echo_error
from durablecli.errors import DurableError

if TYPE_CHECKING:
    from durablecli.apps.modules import LoadedApp
    from durablecli.client import RemoteFunction, RemoteWorkers
    from durablecli.config import Config
    from durablecli.registry import Function

_PLURALS = {"orchestrator": "orchestrators", "activity": "activities", "entity": "entities"}
HEADER = ("NAME", "KIND", "SIGNATURE", "WHERE")


@click.command(
    "functions", epilog=format_exit_codes("0 done", "2 usage error", "78 invalid durable.yaml, or no function loads")
)
@app_option
@output_option
def command(app: tuple[str, ...], output_format: str | None) -> int:
    """List the loaded functions, and the modules that could not be loaded.

    While a daemon serves remote code, the functions that its connected workers name are listed too.
    """
    from durablecli.apps.load_warnings import no_function_error

    config = load_settings(app=app)
    loaded, workers = load_app(config), _read_workers(config)
    output = Output(output_format)
    if output.is_human_readable:
        rows = [row for one in loaded.registry for row in _format_rows(one, config.http.route_prefix)]
        rows += [] if workers is None else map(_format_remote, workers.functions())
        if rows:
            output.print_table(HEADER, rows, elastic=2)
    else:
        output.print_value(_to_dict(loaded) | ({} if workers is None else _workers_to_dict(workers)))
    print_load_warnings(loaded)
    if config.engine is None:
        print_code_notice(config.state_dir)
    if workers is not None:
        _print_workers(workers)
    if len(loaded.registry) or workers is not None:
        return 0
    error = no_function_error(config)
    echo_error(str(error))
    return error.exit_code


def _read_workers(config: Config) -> RemoteWorkers | None:
    """Return the workers that are connected to the running engine of the hub; None if it has none or can't be read."""
    from durablecli.client import Client

    if config.engine is not None:
        return None
    with suppress(DurableError, OSError):
        return Client(config.state_dir).workers()
    return None


def _print_workers(workers: RemoteWorkers) -> None:
    """Print a note beside the list of functions: that no worker is connected, or which of them run any function."""
    from durablecli.client import unnamed_kinds

    if not workers.workers:
        echo("no worker is connected; functions that aren't loaded here wait for one")
    for each in workers.workers:
        if kinds := unnamed_kinds(each):
            echo(f"worker {each.label} runs {', '.join(_PLURALS[kind] for kind in kinds)} of any name")


def _format_remote(one: RemoteFunction) -> tuple[str, str, str, str]:
    versions = f"version {', '.join(each or '(none)' for each in one.versions)}" if one.versions else ""
    return one.name, one.kind, versions, f"remote, worker {', '.join(one.workers)}"


def _workers_to_dict(workers: RemoteWorkers) -> dict[str, object]:
    return {
        "remote": [
            {"name": one.name, "kind": one.kind, "versions": one.versions, "workers": one.workers}
            for one in workers.functions()
        ],
        "workers": [
            {"label": each.label, "since": each.since, "inFlight": Counter(work.kind for work in each.work)}
            for each in workers.workers
        ],
    }


def _to_dict(loaded: LoadedApp) -> dict[str, object]:
    return {
        "functions": [_function_to_dict(one) for one in loaded.registry],
        "modules": [{"name": one.name, "path": one.path, "error": one.error} for one in loaded.modules],
        "clashes": list(loaded.registry.clashes.values()),
    }


def _function_to_dict(one: Function) -> dict[str, object]:
    found: dict[str, object] = {
        "name": one.name,
        "kind": one.kind,
        "signature": one.signature,
        "place": one.source_location,
        "module": one.module,
    }
    if one.input_schema:
        found["inputSchema"] = one.input_schema
    return found if one.trigger is None else found | {"trigger": one.trigger._asdict()}


def _format_kind(one: Function, prefix: str) -> str:
    """Format the kind of a function, or the trigger that starts it."""
    from durablecli.bindings import HttpTrigger, TimerTrigger

    match one.trigger:
        case HttpTrigger(methods=methods) as http:
            return f"http {','.join(methods or ('any',))} {http.path(one.name, prefix)}"
        case TimerTrigger(schedule):
            return f"timer {schedule}"
        case None:
            return one.kind
        case other:
            return f"{other.kind}: not run here"


def _format_rows(one: Function, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows of a function; a class has one for each of its operations."""
    from durablecli.apps.load_warnings import relative_location

    if one.methods is None:
        yield (
            one.name,
            _format_kind(one, prefix),
            _shorten_signature(one.signature.removeprefix(one.name)),
            relative_location(one.source_location),
        )
        return
    first, *others = [_shorten_signature(method.signature) for method in one.methods] or [""]
    yield one.name, one.kind, first, relative_location(one.source_location)
    yield from (("", "", signature, "") for signature in others)


def _shorten_signature(signature: str) -> str:
    """Remove the module names from the annotations."""
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", signature)
