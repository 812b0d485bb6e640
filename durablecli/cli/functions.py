"""`durable functions`: what is loaded, from where, with signatures, and what could not be loaded and why."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import click

from durablecli.cli.options import app_option, format_exit_codes, load_settings, output_option
from durablecli.cli.output import Output, echo_error

if TYPE_CHECKING:
    from durablecli.apps.modules import LoadedApp
    from durablecli.registry import Function

HEADER = ("NAME", "KIND", "SIGNATURE", "WHERE")


@click.command(
    "functions", epilog=format_exit_codes("0 done", "2 usage", "78 durable.yaml is wrong, or no function loads")
)
@app_option
@output_option
def command(app: tuple[str, ...], output_format: str | None) -> int:
    """Show the functions that are loaded, and the modules that can't be."""
    from durablecli.apps.load import load_configured

    config = load_settings(app=app)
    with redirect_stdout(sys.stderr):  # what a module prints while it is imported is no part of the list
        loaded = load_configured(config)
    output = Output(output_format)
    if output.is_human_readable:
        rows = [row for one in loaded.registry for row in _format_rows(one, config.http.route_prefix)]
        if rows:
            output.print_table(HEADER, rows, elastic=2)
    else:
        output.print_value(_to_dict(loaded))
    for line in load_warnings(loaded):
        echo_error(line)
    if not len(loaded.registry):
        echo_error(f"no function is loaded from {', '.join(config.app) or 'anywhere: make a folder workflows/'}")
        return 78
    return 0


def load_warnings(loaded: LoadedApp) -> list[str]:
    """A line for each module that can't be imported, and for each name that two functions share."""
    lines = [f"{module.name} isn't loaded: {module.error}" for module in loaded.modules if module.error]
    lines += loaded.warnings
    for places in loaded.registry.clashes.values():
        lines.append(f"two functions share a name, so neither is used: {', '.join(map(_relative_place, places))}")
    return lines


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
    """The kind, and what starts a function that nobody calls."""
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
    """A row of the table; a class has one for each of its operations."""
    if one.methods is None:
        yield (
            one.name,
            _format_kind(one, prefix),
            _shorten_signature(one.signature.removeprefix(one.name)),
            _relative_place(one.source_location),
        )
        return
    first, *others = [_shorten_signature(method.signature) for method in one.methods] or [""]
    yield one.name, one.kind, first, _relative_place(one.source_location)
    yield from (("", "", signature, "") for signature in others)


def _shorten_signature(signature: str) -> str:
    """Annotations without the modules they come from."""
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", signature)


def _relative_place(place: str) -> str:
    """The path relative to here, where that is shorter."""
    return place.replace(os.getcwd() + os.sep, "")
