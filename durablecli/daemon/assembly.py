"""Assembles an engine of its parts, starts them in order, and stops them in the reverse order."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from durablecli.apps.modules import LoadedApp
from durablecli.builtin.call_http import make_call_http_functions
from durablecli.config import Config
from durablecli.engine.engine import Engine
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.info_writer import EngineInfoWriter
from durablecli.engine.watchdog import Watchdog
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.pool import ReportResult
from durablecli.errors import NoPermission, StorageError
from durablecli.management_links import ManagementEndpoint
from durablecli.model.versions import VersionPolicy
from durablecli.plurals import format_count
from durablecli.project import make_absolute
from durablecli.registry import Registry
from durablecli.store.hang_report import HangReportFile
from durablecli.store.hub import Hub, close_hub, open_hub
from durablecli.store.inbox.wakeup import WakeupPipe

Echo = Callable[[str], None]
_GC_THRESHOLD = 100_000


def log_warning(text: str) -> None:
    """Log a line where there is no terminal to print it on."""
    logging.getLogger("durablecli").warning("%s", text)


@contextmanager
def open_own_hub(state_dir: str, echo: Echo) -> Iterator[Hub]:
    """Open the hub as its engine, and close it at the end. Raises HubLocked if another engine has it."""

    def report_progress(done: int) -> None:
        if done and done % 10_000 == 0:
            echo(f"rebuilding the index: {done:,} instances")

    hub = open_hub(
        make_absolute(state_dir), progress=report_progress, on_create=lambda root: echo(f"created the hub {root}")
    )
    clean = False
    try:
        yield hub
        clean = True
    except (PermissionError, NoPermission) as error:  # the hub could be opened, so this is a failure of the disk
        raise StorageError(f"lost permission: {error}") from error
    finally:
        close_hub(hub, clean=clean, oldest_needed_commit=hub.oldest_needed_commit)


@contextmanager
def open_engine(
    hub: Hub,
    config: Config,
    loaded: LoadedApp,
    echo: Echo,
    *,
    replay_always: bool = False,
    get_endpoint: Callable[[], ManagementEndpoint | None] = lambda: None,
    only_instance: str | None = None,
) -> Iterator[Engine]:
    """Open an engine with its watchdog and its wake-up pipe; what has started is stopped again, in reverse order.

    `get_endpoint` returns the address of the HTTP API, once it listens. With `only_instance` the engine drives that
    instance and those that belong to it.
    """
    engine = _make_engine(hub, config, loaded, echo, replay_always=replay_always, only_instance=only_instance)
    _inject_clients(loaded.registry, engine, get_endpoint)
    hang_file = HangReportFile(hub.disk, hub.root)
    hang_report = hang_file.take()
    with ExitStack() as stack:
        stack.callback(engine.close)
        stack.enter_context(engine.log_capture)
        watchdog = Watchdog(engine.current_turn, hang_file, echo)
        stack.callback(watchdog.stop)
        watchdog.start()
        stack.enter_context(_rare_garbage_collection())
        wakeup = WakeupPipe(hub.root)
        stack.callback(wakeup.close)
        wakeup.listen(engine.wake)
        if resumed := engine.open(hang_report):
            echo(f"resumed {format_count(resumed, 'instance')} with pending work")
        yield engine


def _make_engine(
    hub: Hub, config: Config, loaded: LoadedApp, echo: Echo, *, replay_always: bool, only_instance: str | None
) -> Engine:
    registry = loaded.registry
    registry.add_built_in(make_call_http_functions(config.call_http.poll, config.call_http.timeout))
    options = EngineOptions(
        replay_always=replay_always or config.replay_always,
        fail_on_nondeterminism=config.on_nondeterminism == "fail",
        versions=VersionPolicy(config.default_version, config.version_match, config.version_failure == "fail"),
        live_instances=config.concurrency.live_instances,
        checkpoint_bytes=config.checkpoint.bytes,
        checkpoint_interval=config.checkpoint.every,
        limits=config.limits,
        only_instance=only_instance,
    )

    def make_dispatcher(report: ReportResult) -> Dispatcher:
        app = AppLocation(config.app, os.path.join(loaded.folder, config.base), loaded.folder)
        return Dispatcher(registry, report, config.concurrency, app, config.limits.payload)

    info_writer = EngineInfoWriter(hub.disk, hub.root, registry)
    return Engine(hub, registry, options=options, make_dispatcher=make_dispatcher, info_writer=info_writer, echo=echo)


def _inject_clients(registry: Registry, engine: Engine, get_endpoint: Callable[[], ManagementEndpoint | None]) -> None:
    """Register the timer functions, and give clients of the hub to the functions that ask for one."""
    if not any(each.kind == "timer" or each.has_bindings for each in registry):
        return
    from durablecli.azure import activities, invocation  # slow to import, and few apps need them
    from durablecli.builtin import timer_functions
    from durablecli.client import Client

    def make_clients() -> invocation.ClientProvider:
        return invocation.ClientProvider(Client(engine.hub.root, engine), get_endpoint())

    timer_functions.register_timers(registry, make_clients)
    activities.inject_clients(registry, make_clients)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Collect garbage less often: scanning thousands of live instances takes a fifth of the throughput."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
