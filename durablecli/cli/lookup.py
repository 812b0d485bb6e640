"""Looks a name up before something is sent to it: in the list of the running engine, else in what the modules hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import click

from durablecli.cli.output import echo, echo_error
from durablecli.errors import NotFound

if TYPE_CHECKING:
    from durablecli.client import Client, PublishedFunctions
    from durablecli.config import Config

anyway_option = click.option("--anyway", is_flag=True, help="Don't check the name.")


def check_orchestrator(client: Client, config: Config, name: str) -> bool:
    """Raise NotFound, with a suggestion, for a name that no orchestrator has. False if there is nothing to look in."""
    return _check_published(
        client, config, lambda known: None if known.has_orchestrator(name) else known.unknown_orchestrator_error(name)
    )


def check_operation(client: Client, config: Config, entity: str, operation: str) -> bool:
    """Raise NotFound, with a suggestion, for a name that no entity function or none of its operations has. False if
    there is nothing to look in."""

    def unknown_error(known: PublishedFunctions) -> NotFound | None:
        return (
            known.unknown_operation_error(entity, operation)
            if known.has_entity(entity)
            else known.unknown_entity_error(entity)
        )

    return _check_published(client, config, unknown_error)


def warn_unchecked(config: Config, name: str) -> None:
    """Say that nothing could be looked up."""
    echo(f"the name '{name}' was not checked: {config.base} has no workflows/, and no --app is given")


def _check_published(
    client: Client, config: Config, unknown_error: Callable[[PublishedFunctions], NotFound | None]
) -> bool:
    """The list of a running engine decides. One of an earlier engine is enough to accept a name; else the modules
    decide, and the list where no modules are named."""
    published = client.published()
    found = None if published is None else unknown_error(published)
    if published is None or (found is not None and not client.engine().alive):
        known = _load_functions(config) or published
        if known is None:
            return False
        found = unknown_error(known)
    if found is not None:
        raise NotFound(f"{found}; --anyway sends it all the same")
    return True


def _load_functions(config: Config) -> PublishedFunctions | None:
    """What the modules hold that the settings name; None where they name none. Says which can't be imported."""
    if not config.app:
        return None
    from durablecli.apps.load import load_configured
    from durablecli.cli.functions import load_warnings
    from durablecli.client import describe_registry

    with redirect_stdout(sys.stderr):
        loaded = load_configured(config)
    for line in load_warnings(loaded):
        echo_error(line)
    return describe_registry(loaded.registry)
