"""Checks the name of a function before a message is posted: against the running engine, else against the modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import click

from durablecli.cli.app_loading import load_app_with_warnings
from durablecli.cli.output import echo
from durablecli.errors import NotFound
from durablecli.plurals import format_count

if TYPE_CHECKING:
    from durablecli.client import HubClient, PublishedFunctions
    from durablecli.config import Config
    from durablecli.inputs.input_check import InputRules
    from durablecli.registry import Registry

anyway_option = click.option("--anyway", is_flag=True, help="Accept a name that isn't found.")


class CheckedName(NamedTuple):
    """Whether a name could be checked, and the functions of the modules if these were loaded for it."""

    is_known: bool
    registry: Registry | None = None


def check_orchestrator(client: HubClient, config: Config, name: str) -> CheckedName:
    """Raise NotFound, with a suggestion, if no orchestrator has the name."""
    checked = _check_published(
        client, config, lambda known: None if known.has_orchestrator(name) else known.unknown_orchestrator_error(name)
    )
    _warn_unserved(client, "orchestrator", name)
    return checked


def find_input_rules(client: HubClient, config: Config, name: str, checked: CheckedName | None) -> InputRules | None:
    """Return what is known of the input of an orchestrator: from the running engine, else from the modules.

    None if it declares no type, or if that isn't known.
    """
    if client.is_foreign:
        return None
    registry = None if checked is None else checked.registry
    if registry is None:
        published = client.published()
        rules = None if published is None else published.input_rules(name)
        if rules is None or client.engine().alive:
            return rules
        registry = _load_registry(config)  # the modules may have changed since an engine published them
    function = None if registry is None else registry.find_orchestrator(name)
    return None if function is None else function.input_rules


def check_operation(client: HubClient, config: Config, entity: str, operation: str) -> bool:
    """Raise NotFound, with a suggestion, for an unknown entity or operation; return False if it can't be checked."""

    def unknown_error(known: PublishedFunctions) -> NotFound | None:
        return (
            known.unknown_operation_error(entity, operation)
            if known.has_entity(entity)
            else known.unknown_entity_error(entity)
        )

    checked = _check_published(client, config, unknown_error)
    _warn_unserved(client, "entity", entity)
    return checked.is_known


def warn_unchecked(config: Config, name: str) -> None:
    """Print that a name could not be checked."""
    echo(f"'{name}' was not checked: {config.base} has no workflows/, and --app is not given")


def _warn_unserved(client: HubClient, kind: str, name: str) -> None:
    """Print that no connected worker runs a function that isn't loaded; the message waits for one."""
    if client.is_foreign or not client.engine().alive:
        return
    published = client.published()
    workers = None if published is None else published.workers
    if workers is not None and workers.is_remote(kind, name) and not workers.has_worker_for(kind, name):
        connected = format_count(len(workers.workers), "worker") if workers.workers else "no worker"
        echo(f"'{name}' isn't loaded here: it waits for a worker that runs it ({connected} connected)")


def _check_published(
    client: HubClient, config: Config, unknown_error: Callable[[PublishedFunctions], NotFound | None]
) -> CheckedName:
    """Check a name against the functions that the running engine has loaded.

    If none runs, a name that the last engine knew is accepted; otherwise the modules decide.
    """
    if client.is_foreign:  # its workers may be anywhere, and in any language
        return CheckedName(True)
    published = client.published()
    found = None if published is None else unknown_error(published)
    registry = None
    if published is None or (found is not None and not client.engine().alive):
        registry = _load_registry(config)
        if registry is None and published is None:
            return CheckedName(False)
        found = found if registry is None else unknown_error(_describe(registry))
    if found is not None:
        raise NotFound(f"{found} (use --anyway to send it anyway)")
    return CheckedName(True, registry)


def _load_registry(config: Config) -> Registry | None:
    """Load the modules that the settings name and return their functions; None if the settings name none."""
    return load_app_with_warnings(config).registry if config.app else None


def _describe(registry: Registry) -> PublishedFunctions:
    from durablecli.client import describe_registry

    return describe_registry(registry)
