"""Runs one instance to its end, as `durable run` does."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from durablecli.apps.modules import LoadedApp
from durablecli.client import Client
from durablecli.config import Config
from durablecli.daemon.assembly import Echo, log_warning, open_engine, open_own_hub
from durablecli.engine.engine import Engine
from durablecli.engine.workers.fork_guard import child_action
from durablecli.errors import HubLocked
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.os_signals import SignalHandler
from durablecli.plurals import format_count
from durablecli.store.inbox.messages import RUN_VARIABLE

_POLL_INTERVAL = 0.1
_NOTIFY_AFTER = 1.0
"""Seconds of waiting after which a line says why."""


def run_until_ended(
    config: Config,
    state_dir: str,
    loaded: LoadedApp,
    instance: str,
    signals: SignalHandler,
    *,
    all_instances: bool = False,
    echo: Echo = lambda text: None,
) -> None:
    """Run an instance to its end: as the hub's engine, or, while another engine has the hub, by waiting for its turn.

    As the engine it drives this instance and those that belong to it, or all instances. At the end it lets running
    activities finish, for as long as the settings allow. It also returns after a signal, which leaves the instance as
    it is, and when the instance has been purged.
    """
    if not logging.getLogger().handlers:
        logging.getLogger().setLevel(config.log.level.upper())  # for the logs; less than a warning isn't printed
    client = Client(state_dir)
    only_instance = None if all_instances else instance
    notify_at: float | None = monotonic() + _NOTIFY_AFTER

    def has_ended(engine: Engine) -> bool:
        # The engine may know an earlier execution, which a start in the inbox is about to replace.
        return engine.has_ended(instance) and client.has_ended(instance)

    while signals.received is None and not client.has_ended(instance):
        try:
            with (
                signals.raise_on_signal(False),
                child_action(signals.restore_handlers),
                open_own_hub(state_dir, lambda text: None) as hub,
                _mark_as_run(only_instance),
                open_engine(
                    hub, config, loaded, log_warning, report_instances=False, only_instance=only_instance
                ) as engine,
                signals.call_on_signal(engine.stop),
            ):
                engine.run(until=has_ended)
                if signals.received is not None:
                    engine.scope.close()
                _finish_calls(engine, config.drain, echo)
        except HubLocked as locked:
            if notify_at is not None and monotonic() >= notify_at and _is_pending(client, instance):
                echo(f"{instance} is still Pending; it starts when the running engine takes it or ends: {locked}")
                notify_at = None
            threading.Event().wait(_POLL_INTERVAL)


def _is_pending(client: Client, instance: str) -> bool:
    """Return whether no engine has started it; one that runs another instance alone never does."""
    return client.get_status(instance, show_input=False).runtime_status is OrchestrationRuntimeStatus.Pending


def _finish_calls(engine: Engine, limit: timedelta, echo: Echo) -> None:
    """Let all dispatched calls finish, also those that are still queued for a thread, and have hooks called; then
    drain."""
    until = monotonic() + limit.total_seconds()
    notify_at: float | None = monotonic() + _NOTIFY_AFTER
    outstanding = set() if engine.is_stopping else engine.keys_in_flight()
    while monotonic() < until and not engine.is_stopping:
        outstanding &= engine.keys_in_flight()
        if not outstanding and not engine.hooks.is_delivering:
            break
        if notify_at is not None and monotonic() >= notify_at:
            what = format_count(len(outstanding), "call") if outstanding else "the hooks"
            echo(f"waiting up to {limit.total_seconds():g} s for {what} to finish")
            notify_at = None
        engine.step(_POLL_INTERVAL)
    engine.drain(timedelta(seconds=max(0.0, until - monotonic())))


@contextmanager
def _mark_as_run(instance: str | None) -> Iterator[None]:
    """Mark messages that this process and its children post as those of this run."""
    if instance is None:
        yield
        return
    os.environ[RUN_VARIABLE] = instance
    try:
        yield
    finally:
        os.environ.pop(RUN_VARIABLE, None)
