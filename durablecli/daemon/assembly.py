"""Assembles an engine of its parts, starts them in order, and stops them in the reverse order."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from durablecli.apps.modules import LoadedApp
from durablecli.config import Config
from durablecli.daemon.engine_app import EngineApp
from durablecli.engine.engine import Engine
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.engine.watchdog import Watchdog
from durablecli.errors import NoPermission, StorageError
from durablecli.model.versions import VersionPolicy
from durablecli.plurals import format_count
from durablecli.project import make_absolute
from durablecli.store.hang_report import HangReportFile
from durablecli.store.hub import Hub, close_hub, open_hub
from durablecli.store.inbox.wakeup import WakeupPipe
from durablecli.telemetry.interface import Tracing
from durablecli.telemetry.setup import open_tracing

Echo = Callable[[str], None]
_GC_THRESHOLD = 100_000
_MAX_SHOWN_IDS = 3


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
    report_instances: bool = True,
    only_instance: str | None = None,
    owns_process: bool = True,
    remote_work: RemoteWorkPool | None = None,
    app: EngineApp | None = None,
) -> Iterator[Engine]:
    """Open an engine with its watchdog and its wake-up pipe; what has started is stopped again, in reverse order.

    With `only_instance` the engine drives that instance and those that belong to it. With `report_instances` it logs
    what happens to instances, and with `owns_process` the tracing of the process is set up, where it is on.
    `remote_work` takes the work of functions that aren't loaded. `app` is given if it is to be reloaded, or knows the
    address of an HTTP API or the schedules.
    """
    replay_always = replay_always or config.replay_always
    with ExitStack() as stack:
        tracing = stack.enter_context(open_tracing(config.telemetry, echo, owns_process=owns_process))
        options = _make_options(config, replay_always, report_instances, only_instance, tracing)
        options = replace(options, remote_work=remote_work)
        engine = (app or EngineApp(config, loaded)).make_engine(hub, options, echo)
        hang_file = HangReportFile(hub.disk, hub.root)
        hang_report = hang_file.take()
        stack.callback(loaded.registry.close_resources)
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
            echo(f"resumed {_format_ids(resumed)} with pending work")
        yield engine


def _make_options(
    config: Config, replay_always: bool, report_instances: bool, only_instance: str | None, tracing: Tracing | None
) -> EngineOptions:
    return EngineOptions(
        replay_always=replay_always,
        fail_on_nondeterminism=config.on_nondeterminism == "fail",
        versions=VersionPolicy(config.default_version, config.version_match, config.version_failure == "fail"),
        live_instances=config.concurrency.live_instances,
        checkpoint_bytes=config.checkpoint.bytes,
        checkpoint_interval=config.checkpoint.every,
        limits=config.limits,
        retention=config.retention,
        spill_over=config.payloads.spill_over,
        log_bytes=config.log.instance_bytes if config.log.instances else 0,
        report_instances=report_instances,
        only_instance=only_instance,
        tracing=tracing,
        hooks=config.on,
    )


def _format_ids(ids: Sequence[str]) -> str:
    """Format ids, of many the first ones: `tour-1, tour-2 and 40 other instances`."""
    shown, others = ids[:_MAX_SHOWN_IDS], len(ids) - _MAX_SHOWN_IDS
    text = ", ".join(shown)
    return f"{text} and {format_count(others, 'other instance')}" if others > 0 else text


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
