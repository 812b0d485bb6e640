"""`durable functions`: lists the loaded functions with signatures and locations, and what could not be loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from durablecli.cli.app_loading import load_app, print_load_warnings
from durablecli.cli.options import app_option, format_exit_codes, load_settings, output_option
from durablecli.cli.output import Output, echo_error

if TYPE_CHECKING:
    from durablecli.apps.modules import LoadedApp
    from durablecli.registry import Function

HEADER = ("NAME", "KIND", "SIGNATURE", "WHERE")


@click.command(
    "functions", epilog=format_exit_codes("0 done", "2 usage error", "78 invalid durable.yaml, or no function loads")
)
@app_option
@output_option
def command(app: tuple[str, ...], output_format: str | None) -> int:
    """List the loaded functions, and the modules that could not be loaded."""
    from durablecli.apps.load_warnings import no_function_error

    config = load_settings(app=app)
    loaded = load_app(config)
    output = Output(output_format)
    if output.is_human_readable:
        rows = [row for one in loaded.registry for row in _format_rows(one, config.http.route_prefix)]
        if rows:
            output.print_table(HEADER, rows, elastic=2)
    else:
        output.print_value(_to_dict(loaded))
    print_load_warnings(loaded)
    if len(loaded.registry):
        return 0
    error = no_function_error(config)
    echo_error(str(error))
    return error.exit_code


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
