"""The foreground worker of another engine: loads the app, takes work until a signal, and drains it at the end.

It has no hub and no state directory: nothing is lost if it is killed, because the engine gives its work to another one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from durablecli.apps.declared_schedules import collect_schedules
from durablecli.apps.modules import LoadedApp
from durablecli.azure.activities import bind_activities
from durablecli.builtin.call_http import make_call_http_functions
from durablecli.config import Config
from durablecli.daemon.app_start import describe_functions, load_app, print_warnings
from durablecli.daemon.assembly import Echo
from durablecli.daemon.engine_timers import EngineTimers, register_timer_functions
from durablecli.daemon.log_setup import configure_logging
from durablecli.dts.address import parse_engine_address
from durablecli.dts.channel import check_packages, open_channel
from durablecli.engine.watchdog import CurrentTurn, Watchdog
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.fork_guard import child_action
from durablecli.os_signals import SignalHandler
from durablecli.plurals import format_count
from durablecli.registry import Registry
from durablecli.store.hang_report import HangReportFile
from durablecli.store.memory_disk import MemoryDisk


def work_for_engine(config: Config, engine: str, *, echo: Echo, signals: SignalHandler) -> int:
    """Run the functions of the app for the engine at an address, until a signal. Returns the exit code.

    Raises UsageError for an address that isn't one, and ConfigError for an app without functions.
    """
    address = parse_engine_address(engine)
    check_packages()
    since = datetime.now(UTC)
    from durablecli.dts.engine_worker import EngineWorker, make_worker_id  # imports grpc

    echo = configure_logging(config.log, echo)
    with signals.echo_with(echo) as signals, child_action(signals.restore_handlers):
        loaded = load_app(config, signals)
        if loaded is None:
            if signals.received == signal.SIGINT:
                return signals.exit_code
            echo("stopped while loading the modules; nothing was started")
            return 0
        print_warnings(config, loaded, echo)
        echo(f"engine {address}, pid {os.getpid()}")
        echo(describe_functions(config, loaded))
        registry = loaded.registry
        _leave_out(registry, echo)
        registry.add_built_in(make_call_http_functions(config.call_http.poll, config.call_http.timeout))
        bind_activities(registry)
        register_timer_functions(registry)
        if collect_schedules(registry, config).schedules:
            echo("schedules don't run on another engine: that takes the engine of a hub")
        timers = EngineTimers(registry, address, since, echo)
        with open_channel(address, worker_id=make_worker_id()) as channel:
            worker = EngineWorker(
                channel, address, registry, config, _locate(config, loaded), echo, on_first_connection=timers.start
            )
            with worker.log_capture, _watch(worker.current_turn, echo), signals.call_on_signal(worker.stop):
                worker.run()
        echo("stopped")
    return 0


def _leave_out(registry: Registry, echo: Echo) -> None:
    """Remove the functions that need the local engine, and say so."""
    if functions := registry.functions_of_kind("http"):
        echo(f"{format_count(len(functions), 'HTTP function')} not served: that takes the engine of a hub")
    for function in list(registry):
        if function.kind in ("activity", "timer") and function.client_parameter is not None:
            echo(f"{function.name} ({function.kind}) is left out: only the engine of a hub gives it a durable client")
            registry.remove(function)


def _locate(config: Config, loaded: LoadedApp) -> AppLocation:
    return AppLocation(config.app, os.path.join(loaded.folder, config.base), loaded.folder)


@contextmanager
def _watch(current_turn: CurrentTurn, echo: Echo) -> Iterator[None]:
    """Report an orchestrator that doesn't yield."""
    watchdog = Watchdog(current_turn, HangReportFile(MemoryDisk(), "/"), echo)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()
