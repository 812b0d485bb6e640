"""Checks the name of a function before a message is posted: against the running engine, else against the modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from durablecli.cli.app_loading import load_app_with_warnings
from durablecli.cli.output import echo
from durablecli.errors import NotFound

if TYPE_CHECKING:
    from durablecli.client import Client, PublishedFunctions
    from durablecli.config import Config

anyway_option = click.option("--anyway", is_flag=True, help="Accept a name that isn't found.")


def check_orchestrator(client: Client, config: Config, name: str) -> bool:
    """Raise NotFound, with a suggestion, if no orchestrator has the name; return False if it can't be checked."""
    return _check_published(
        client, config, lambda known: None if known.has_orchestrator(name) else known.unknown_orchestrator_error(name)
    )


def check_operation(client: Client, config: Config, entity: str, operation: str) -> bool:
    """Raise NotFound, with a suggestion, for an unknown entity or operation; return False if it can't be checked."""

    def unknown_error(known: PublishedFunctions) -> NotFound | None:
        return (
            known.unknown_operation_error(entity, operation)
            if known.has_entity(entity)
            else known.unknown_entity_error(entity)
        )

    return _check_published(client, config, unknown_error)


def warn_unchecked(config: Config, name: str) -> None:
    """Print that a name could not be checked."""
    echo(f"'{name}' was not checked: {config.base} has no workflows/, and --app is not given")


def _check_published(
    client: Client, config: Config, unknown_error: Callable[[PublishedFunctions], NotFound | None]
) -> bool:
    """Check a name against the functions that the running engine has loaded.

    If none runs, a name that the last engine knew is accepted; otherwise the modules decide.
    """
    published = client.published()
    found = None if published is None else unknown_error(published)
    if published is None or (found is not None and not client.engine().alive):
        known = _load_functions(config) or published
        if known is None:
            return False
        found = unknown_error(known)
    if found is not None:
        raise NotFound(f"{found} (use --anyway to send it anyway)")
    return True


def _load_functions(config: Config) -> PublishedFunctions | None:
    """Load the modules that the settings name and return their functions; None if the settings name none."""
    if not config.app:
        return None
    from durablecli.client import describe_registry

    return describe_registry(load_app_with_warnings(config).registry)
