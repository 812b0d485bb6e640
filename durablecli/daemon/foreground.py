"""The foreground daemon: opens the hub, loads the app, runs the engine and the HTTP server, and drains them at the end.

Nothing is lost if it is killed instead: the next engine runs again what was running.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from durablecli.apps.load_warnings import no_function_error
from durablecli.apps.modules import LoadedApp
from durablecli.builtin import timer_starts
from durablecli.builtin.hook_cleanup import purge_old_deliveries
from durablecli.config import Config
from durablecli.daemon.app_start import describe_functions, load_app, print_warnings
from durablecli.daemon.assembly import Echo, open_engine, open_own_hub
from durablecli.daemon.engine_app import EngineApp
from durablecli.daemon.grpc_serving import bind_grpc, serve_grpc
from durablecli.daemon.hub_schedules import HubSchedules
from durablecli.daemon.log_setup import configure_logging
from durablecli.engine.engine import Engine
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.engine.workers.fork_guard import child_action
from durablecli.os_signals import SignalHandler
from durablecli.plurals import format_count
from durablecli.project import display_path
from durablecli.registry import Registry
from durablecli.store.disk import LocalDisk
from durablecli.store.hub import Hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Mailbox

if TYPE_CHECKING:  # slow to import, and needed for HTTP only
    from socket import socket

    from durablecli.client import Client
    from durablecli.grpc.grpc_server import GrpcServer
    from durablecli.http.server import HttpServer

_STEP_WAIT = 0.1
_ALTERNATIVE = "; without any, --grpc serves workers in other languages"


def serve(
    config: Config,
    *,
    state_dir: str,
    until_idle: bool = False,
    replay_always: bool = False,
    listen: str | None = None,
    listen_grpc: str | None = None,
    reload: bool = False,
    echo: Echo = print,
    signals: SignalHandler | None = None,
) -> int:
    """Run the hub's engine until a signal or, with `until_idle`, until it waits only for timers or events.

    `listen` is the address for HTTP, and `listen_grpc` for gRPC; the default is that of the settings. With `reload` it
    loads the app again whenever its files have changed. Without `signals` it handles them itself.
    """
    echo = configure_logging(config.log, echo)
    since = datetime.now(UTC)
    config = _apply_options(config, listen, listen_grpc, replay_always=replay_always)
    if not config.app and config.grpc.listen is None:
        raise no_function_error(config, _ALTERNATIVE)  # before a hub is made where nothing can run
    server: HttpServer | None = None
    with (
        SignalHandler(echo) if signals is None else signals.echo_with(echo) as signals,
        child_action(signals.restore_handlers),
        open_own_hub(state_dir, echo) as hub,  # before the port: that the hub is locked is the more helpful error
        _bind_port(config.http.listen) as port,
        bind_grpc(config) as grpc_server,
    ):
        loaded = load_app(config, signals)
        if loaded is None:
            return _stop_while_loading(signals, echo)
        _print_banner(config, loaded, hub, echo, needs_functions=not (grpc_server or (reload and config.app)))
        pool = RemoteWorkPool() if grpc_server is not None else None
        schedules = HubSchedules(hub, config, loaded)
        app = EngineApp(config, loaded, lambda: server.endpoint if server else None, schedules.declared, reloads=reload)
        with (
            open_engine(hub, config, loaded, echo, remote_work=pool, app=app) as engine,
            signals.call_on_signal(engine.stop),
            _serve_http(port, config, loaded.registry, engine, echo) as server,
            serve_grpc(grpc_server, pool, config, engine, echo),
            _reload_changes(app, schedules, config, server, engine, since, echo) if reload else nullcontext(),
        ):
            _start_built_ins(loaded, hub, since, schedules, echo)
            _run(engine, server, grpc_server, config, echo, until_idle=until_idle)
    return 0


def _stop_while_loading(signals: SignalHandler, echo: Echo) -> int:
    """Return the exit code after a signal that has stopped the loading of the modules."""
    if signals.received == signal.SIGINT:
        return signals.exit_code
    echo("stopped while loading the modules; nothing was started")
    return 0


def _apply_options(config: Config, http: str | None, grpc: str | None, *, replay_always: bool) -> Config:
    replace = msgspec.structs.replace
    config = replace(config, replay_always=True) if replay_always else config
    config = config if http is None else replace(config, http=replace(config.http, listen=http))
    return config if grpc is None else replace(config, grpc=replace(config.grpc, listen=grpc))


def _print_banner(config: Config, loaded: LoadedApp, hub: Hub, echo: Echo, *, needs_functions: bool) -> None:
    """Print the problems of the app, then the hub and the functions. Raises ConfigError if there are none, although
    they are needed: with gRPC all of them may run elsewhere."""
    print_warnings(config, loaded, echo, needs_functions=needs_functions, alternative=_ALTERNATIVE)
    echo(f"hub {display_path(hub.root)}, pid {os.getpid()}, epoch {hub.epoch}")
    if config.app:
        echo(describe_functions(config, loaded))


def _start_built_ins(loaded: LoadedApp, hub: Hub, since: datetime, schedules: HubSchedules, echo: Echo) -> None:
    """Start what durablecli itself runs in the hub, through the inbox: the engine doesn't run yet."""
    _start_timers(loaded, hub, since, echo)
    purge_old_deliveries(hub, Inbox(LocalDisk(), hub.root), since)
    schedules.update_hub()


def _start_timers(loaded: LoadedApp, hub: Hub, since: datetime, echo: Echo) -> None:
    """Start the orchestrations of timer functions, through the inbox: the engine doesn't run yet."""
    if timer_starts.may_exist(loaded.registry, hub):
        from durablecli.client import Client  # slow to import, and not needed for most apps

        _ensure_timers(loaded, Client(hub.root), Inbox(LocalDisk(), hub.root), since, echo)


def _ensure_timers(loaded: LoadedApp, client: Client, mailbox: Mailbox, since: datetime, echo: Echo) -> None:
    is_complete = all(module.error is None for module in loaded.modules)
    timer_starts.ensure_timers(loaded.registry, client, mailbox, since, is_complete=is_complete, warn=echo)


@contextmanager
def _reload_changes(
    app: EngineApp,
    schedules: HubSchedules,
    config: Config,
    server: HttpServer | None,
    engine: Engine,
    since: datetime,
    echo: Echo,
) -> Iterator[None]:
    """Load the app again whenever its files have changed."""
    from durablecli.client import Client
    from durablecli.daemon.code_watcher import CodeWatcher  # needs watchfiles

    def finish(before: LoadedApp, loaded: LoadedApp) -> None:
        if server is not None:
            server.replace_functions()
        if any(each.registry.functions_of_kind("timer") for each in (before, loaded)):
            _ensure_timers(loaded, Client(engine.hub.root, engine), engine, since, echo)
        schedules.declare(loaded)
        schedules.update_hub()

    watcher = CodeWatcher(config, app, echo, finish)
    watcher.start()
    folders = ", ".join(f"{target}/" if os.path.isdir(target) else target for target in config.app)
    echo(f"watching {folders}: a saved change is live at once")
    if server is not None:
        echo(f"dashboard {server.url}/")
    try:
        yield
    finally:
        watcher.stop()


@contextmanager
def _bind_port(listen: str | int | None) -> Iterator[socket | None]:
    """Bind the port, before anything is started that would have to be undone."""
    if listen is None:
        yield None
        return
    from durablecli.http.server import bind_socket  # slow to import, and needed for HTTP only

    with bind_socket(str(listen)) as port, child_action(port.close):
        yield port


@contextmanager
def _serve_http(
    port: socket | None, config: Config, registry: Registry, engine: Engine, echo: Echo
) -> Iterator[HttpServer | None]:
    if port is None:
        if unserved := registry.functions_of_kind("http"):
            echo(f"{format_count(len(unserved), 'HTTP function')} not served: add --http 7071, or set http.listen")
        yield None
        return
    from durablecli.client import Client
    from durablecli.http.server import HttpServer
    from durablecli.serving.api_keys import load_keys
    from durablecli.store.http_keys import load_or_create_keys
    from durablecli.store.layout import KEYS_FILE

    root = engine.hub.root
    keys, is_new = load_keys(port.getsockname()[0], config.http.keys, lambda: load_or_create_keys(root))
    server = HttpServer(port, Client(root, engine), registry, keys, config.http, config.drain, on_stopped=engine.wake)
    try:
        server.start()
        if is_new:
            echo(f"generated an API key (shown only once): {keys.code}; all keys: {display_path(root)}/{KEYS_FILE}")
        echo(f"listening on {server.url} (hub {display_path(root)})")
        for name, methods, path in server.routes:
            echo(f"  {name}: {','.join(methods)} {server.url}{path}")
        yield server
    finally:
        server.close()


def _run(
    engine: Engine,
    server: HttpServer | None,
    grpc_server: GrpcServer | None,
    config: Config,
    echo: Echo,
    *,
    until_idle: bool,
) -> None:
    """Run the engine until it is stopped, is idle where that is asked for, or a server fails; then drain it."""
    servers = [each for each in (server, grpc_server) if each is not None]
    engine.run(until=lambda engine: (until_idle and engine.is_idle) or any(each.failed for each in servers))
    is_idle = until_idle and not engine.is_stopping
    echo("idle: waiting only for timers or events; exiting" if is_idle else "stopping")
    if grpc_server is not None:
        grpc_server.stop_accepting()
    _drain(engine, server, config.drain)
    for each in servers:
        each.check()


def _drain(engine: Engine, server: HttpServer | None, limit: timedelta) -> None:
    """Let requests finish for half of the time, and running activities for the rest."""
    began = monotonic()
    if server is not None:
        _finish_requests(server, engine, began + limit.total_seconds() / 2)
    engine.drain(timedelta(seconds=max(0.0, began + limit.total_seconds() - monotonic())))


def _finish_requests(server: HttpServer, engine: Engine, until: float) -> None:
    """Accept no new requests, and finish the running ones: for that the engine takes the messages that they submit.
    The next engine starts what these messages ask for."""
    engine.pause()
    server.stop_accepting()
    while server.alive and monotonic() < until:
        engine.step(_STEP_WAIT)
