"""The foreground daemon: opens the hub, loads the app, runs the engine and the HTTP server, and drains them at the end.

Nothing is lost if it is killed instead: the next engine runs again what was running.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from durablecli.apps.load import load_configured
from durablecli.apps.load_warnings import load_warnings, no_function_error
from durablecli.apps.modules import LoadedApp
from durablecli.builtin import timer_starts
from durablecli.config import Config
from durablecli.daemon.assembly import Echo, open_engine, open_own_hub
from durablecli.engine.engine import Engine
from durablecli.engine.workers.fork_guard import child_action
from durablecli.os_signals import Interrupted, SignalHandler
from durablecli.plurals import format_count
from durablecli.project import display_path
from durablecli.registry import Registry
from durablecli.store.disk import LocalDisk
from durablecli.store.hub import Hub
from durablecli.store.inbox.inbox import Inbox

if TYPE_CHECKING:  # slow to import, and needed for HTTP only
    from socket import socket

    from durablecli.http.server import HttpServer

_STEP_WAIT = 0.1
_BANNER_NOUNS = (
    ("orchestrator", "orchestrator", "orchestrators"),
    ("activity", "activity", "activities"),
    ("entity", "entity", "entities"),
    ("http", "HTTP function", "HTTP functions"),
    ("timer", "timer", "timers"),
)


def serve(
    config: Config,
    *,
    state_dir: str,
    until_idle: bool = False,
    replay_always: bool = False,
    listen: str | None = None,
    echo: Echo = print,
    signals: SignalHandler | None = None,
) -> int:
    """Run the hub's engine until a signal or, with `until_idle`, until it waits only for timers or events.

    `listen` is the address for HTTP; the default is that of the settings. Without `signals` it handles them itself.
    """
    logging.basicConfig(level=config.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    since = datetime.now(UTC)
    config = config if listen is None else _set_listen(config, listen)
    server: HttpServer | None = None
    with (
        SignalHandler(echo) if signals is None else nullcontext(signals) as signals,
        child_action(signals.restore_handlers),
        open_own_hub(state_dir, echo) as hub,  # before the port: that the hub is locked is the more helpful error
        _bind_port(config.http.listen) as port,
    ):
        loaded = _load_app(config, signals)
        if loaded is None:
            if signals.received == signal.SIGINT:
                return signals.exit_code
            echo("stopped while loading the modules; nothing was started")
            return 0
        _print_banner(config, loaded, hub, echo)
        with (
            open_engine(
                hub,
                config,
                loaded,
                echo,
                replay_always=replay_always,
                get_endpoint=lambda: server.endpoint if server else None,
            ) as engine,
            signals.call_on_signal(engine.stop),
            _serve_http(port, config, loaded.registry, engine, echo) as server,
        ):
            _ensure_timers(loaded, hub, since, echo)
            engine.run(until=lambda engine: (until_idle and engine.is_idle) or (server is not None and server.failed))
            echo("idle: waiting only for timers or events; exiting" if until_idle else "stopping")
            _drain(engine, server, config.drain)
            if server is not None:
                server.check()
    return 0


def _set_listen(config: Config, listen: str) -> Config:
    return msgspec.structs.replace(config, http=msgspec.structs.replace(config.http, listen=listen))


def _load_app(config: Config, signals: SignalHandler) -> LoadedApp | None:
    """Import the modules; None if a signal arrives meanwhile."""
    try:
        with signals.raise_on_signal():
            return load_configured(config)
    except Interrupted:
        return None


def _print_banner(config: Config, loaded: LoadedApp, hub: Hub, echo: Echo) -> None:
    """Print the problems of the app, then the hub and the functions. Raises ConfigError if there are none."""
    for warning in load_warnings(loaded):
        echo(warning)
    if not len(loaded.registry):
        raise no_function_error(config)
    echo(f"hub {display_path(hub.root)}, pid {os.getpid()}, epoch {hub.epoch}")
    kinds = [function.kind for function in loaded.registry]
    counts = [
        format_count(kinds.count(kind), singular, plural)
        for kind, singular, plural in _BANNER_NOUNS
        if kind in kinds or kind in ("orchestrator", "activity")
    ]
    echo(f"loaded {', '.join(counts[:-1])} and {counts[-1]} from {', '.join(config.app)}")


def _ensure_timers(loaded: LoadedApp, hub: Hub, since: datetime, echo: Echo) -> None:
    """Start the orchestrations of timer functions, through the inbox: the engine doesn't run yet."""
    if not timer_starts.may_exist(loaded.registry, hub):
        return
    from durablecli.client import Client  # slow to import, and not needed for most apps

    is_complete = all(module.error is None for module in loaded.modules)
    timer_starts.ensure_timers(
        loaded.registry, Client(hub.root), Inbox(LocalDisk(), hub.root), since, is_complete=is_complete, warn=echo
    )


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
    from durablecli.http.api_keys import load_keys
    from durablecli.http.server import HttpServer
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
