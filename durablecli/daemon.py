"""Puts an engine into a process: the foreground daemon, `durable run`, the verbs that need none, and embedding.

Starting is: take the hub, load the code, take up what the hub owes, say so. Stopping is: drain, leave what still runs
(it runs again), close. Correctness depends on none of it.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from durablecli.apps.load import load_configured
from durablecli.apps.modules import LoadedApp
from durablecli.builtin.call_http import make_call_http_functions
from durablecli.client import Client
from durablecli.config import Config
from durablecli.engine.engine import Engine, EngineOptions
from durablecli.engine.engine_info import EngineInfoWriter
from durablecli.engine.watchdog import Watchdog, read_hang_report
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.fork_guard import child_action
from durablecli.errors import ConfigError, HubLocked, NoPermission, StorageError
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.model.versions import VersionPolicy
from durablecli.project import display_path, make_absolute
from durablecli.registry import Registry
from durablecli.signals import Interrupted, SignalHandler
from durablecli.store.disk import LocalDisk
from durablecli.store.hub import Hub, close_hub, open_hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import RUN_VARIABLE, MessageItem, Receipt
from durablecli.store.inbox.wakeup import WakeupPipe

if TYPE_CHECKING:  # only whoever asks for HTTP pays for it
    from durablecli.http.server import HttpServer
    from durablecli.management_links import ManagementEndpoint

Echo = Callable[[str], None]
_POLL_INTERVAL = 0.1
_NOTIFY_AFTER = 1.0  # seconds until somebody who waits is told why


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
    """Be the hub's engine in the foreground, until a signal or, with `until_idle`, until nothing can move.

    `listen` says where to answer HTTP; without it the settings do. `signals` are handled already, if they are given.
    """
    logging.basicConfig(level=config.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    since, server = datetime.now(UTC), None
    if listen is not None:
        config = msgspec.structs.replace(config, http=msgspec.structs.replace(config.http, listen=listen))
    # Whose hub it is counts before whose port.
    handled = SignalHandler(echo) if signals is None else nullcontext(signals)
    with (
        handled as signals,
        child_action(signals.restore_handlers),
        _open_hub(state_dir, echo) as hub,
        _bind_port(config.http.listen) as port,
    ):
        loaded = _load_modules(config, signals)
        if loaded is None:
            if signals.received == signal.SIGINT:
                return signals.exit_code
            echo("stopped while loading the modules; nothing was begun")
            return 0
        _print_banner(config, loaded, hub, echo)
        with (
            _open_engine(
                hub, config, loaded, replay_always, echo, lambda: server.endpoint if server else None
            ) as engine,
            signals.call_on_signal(engine.stop),
            _serve_http(port, config, loaded.registry, engine, echo) as server,
        ):
            _ensure_timers(loaded, hub, since, echo)
            engine.run(until=lambda engine: (until_idle and engine.is_idle) or (server is not None and server.failed))
            echo("idle: nothing can move without a timer or an event" if until_idle else "stopping")
            until = monotonic() + config.drain.total_seconds()
            _finish_requests(server, engine, monotonic() + config.drain.total_seconds() / 2)
            engine.drain(timedelta(seconds=max(0.0, until - monotonic())))
            if server is not None:
                server.check()
    return 0


def _load_modules(config: Config, signals: SignalHandler) -> LoadedApp | None:
    """Import the modules; None if a signal comes meanwhile."""
    try:
        with signals.raise_on_signal():
            return load_configured(config)
    except Interrupted:
        return None


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
    """See that an instance ends: as the hub's engine if nobody else is, else by waiting, ready to take over.

    As the engine it drives this instance and what belongs to it, or `everything`. It lets activities that run at the
    end finish, for as long as the settings give them. Returns too after a signal, which leaves the instance as it is,
    and when somebody has purged the instance.
    """
    client = Client(state_dir)
    only = None if all_instances else instance
    notify_at: float | None = monotonic() + _NOTIFY_AFTER

    def has_ended(engine: Engine) -> bool:
        # What the engine knows may be the execution that a start in the inbox is to replace.
        return engine.has_ended(instance) and client.has_ended(instance)

    while signals.received is None and not client.has_ended(instance):
        try:
            with (
                signals.raise_on_signal(False),
                child_action(signals.restore_handlers),
                _open_hub(state_dir, lambda text: None) as hub,
                _mark_as_run(only),
                _open_engine(hub, config, loaded, False, _log_warning, only=only) as engine,
                signals.call_on_signal(engine.stop),
            ):
                engine.run(until=has_ended)
                if signals.received is not None:
                    engine.scope.close()
                _finish_calls(engine, config.drain, echo)
        except HubLocked as locked:
            if notify_at is not None and monotonic() >= notify_at and _is_pending(client, instance):
                echo(f"{instance} is still Pending, and begins at the latest when that engine ends: {locked}")
                notify_at = None
            threading.Event().wait(_POLL_INTERVAL)


def _is_pending(client: Client, instance: str) -> bool:
    """Whether no engine has begun it, as one that runs another instance alone never does."""
    return client.get_status(instance, show_input=False).runtime_status is OrchestrationRuntimeStatus.Pending


def _finish_calls(engine: Engine, limit: timedelta, echo: Echo) -> None:
    """Let the calls finish that have been given out, also those that no thread has begun yet, then drain."""
    until = monotonic() + limit.total_seconds()
    outstanding = (
        set()
        if engine.is_stopping or engine.dispatcher is None
        else {call.key for call in engine.dispatcher.iter_in_flight()}
    )
    notify_at: float | None = monotonic() + _NOTIFY_AFTER
    while engine.dispatcher is not None and (
        outstanding := outstanding & {call.key for call in engine.dispatcher.iter_in_flight()}
    ):
        if monotonic() >= until or engine.is_stopping:
            break
        if notify_at is not None and monotonic() >= notify_at:
            calls = _format_count(len(outstanding), "call")
            echo(f"waiting for {calls} to finish, for {limit.total_seconds():g} s at most")
            notify_at = None
        engine.step(_POLL_INTERVAL)
    engine.drain(timedelta(seconds=max(0.0, until - monotonic())))


@contextmanager
def _mark_as_run(instance: str | None) -> Iterator[None]:
    """Let what the code of this process posts, and the processes that it begins, belong to a run."""
    if instance is None:
        yield
        return
    os.environ[RUN_VARIABLE] = instance
    try:
        yield
    finally:
        os.environ.pop(RUN_VARIABLE, None)


def execute_offline(state_dir: str, kind: str, items: Sequence[MessageItem]) -> Receipt:
    """Carry out a message that needs no user code: here and now if no engine runs, else by posting it."""
    state_dir = make_absolute(state_dir)
    try:
        hub = open_hub(state_dir, timeout=0.0)
    except HubLocked:
        return Inbox(LocalDisk(), state_dir).post(kind, items)
    engine = Engine(hub, None, echo=_log_warning)
    try:
        engine.process_inbox()
        posted = engine.submit(kind, items)
        while not posted.done.is_set():
            engine.step(_POLL_INTERVAL)
        engine.flush()
    finally:
        try:
            engine.close()
        finally:
            close_hub(hub, clean=False)  # the next engine finds everything in the journal, also turns that were cut off
    return Receipt(posted.message.message, [item.instance for item in items])


@contextmanager
def embedded(app: Registry | ModuleType | Sequence[ModuleType], state_dir: str | Path) -> Iterator[Client]:
    """An engine in a thread of this process, and a client that posts straight to it."""
    registry = app if isinstance(app, Registry) else Registry()
    if not isinstance(app, Registry):
        for module in [app] if isinstance(app, ModuleType) else app:
            registry.add_module(module)
    root = make_absolute(state_dir)
    config = Config(state_dir=root)
    ready, result = threading.Event(), _ThreadResult()
    thread = threading.Thread(
        target=_run_embedded, args=(config, registry, ready, result), name="durable-engine", daemon=True
    )
    thread.start()
    ready.wait()
    if result.error is not None or result.engine is None:
        raise result.error or RuntimeError("the engine didn't start")
    try:
        yield Client(root, result.engine)
    finally:
        result.engine.stop()
        thread.join()
    if result.error is not None:
        raise result.error


class _ThreadResult:
    """What the engine's thread hands to the one that started it."""

    engine: Engine | None = None
    error: BaseException | None = None


def _run_embedded(config: Config, registry: Registry, ready: threading.Event, result: _ThreadResult) -> None:
    try:
        with (
            _open_hub(config.state_dir, _log_warning) as hub,
            _open_engine(hub, config, LoadedApp(registry, ()), False, _log_warning) as engine,
        ):
            result.engine = engine
            ready.set()
            engine.run()
            engine.drain(config.drain)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        result.error = error
    finally:
        ready.set()


# ── HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _bind_port(listen: str | int | None) -> Iterator[socket | None]:
    """The port, taken before anything is begun that would have to be undone."""
    if listen is None:
        yield None
        return
    from durablecli.http.server import bind_socket  # only whoever asks for HTTP pays for it

    with bind_socket(str(listen)) as taken, child_action(taken.close):
        yield taken


@contextmanager
def _serve_http(
    port: socket | None, config: Config, registry: Registry, engine: Engine, echo: Echo
) -> Iterator[HttpServer | None]:
    if port is None:
        if unserved := registry.functions_of_kind("http"):
            echo(f"{_format_count(len(unserved), 'HTTP function')} not served: add --http 7071, or set http.listen")
        yield None
        return
    from durablecli.http.api_keys import load_keys
    from durablecli.http.server import HttpServer
    from durablecli.store.http_keys import KEYS_FILE

    keys, made = load_keys(port.getsockname()[0], config.http.keys, engine.hub.root)
    hub, client = display_path(engine.hub.root), Client(engine.hub.root, engine)
    server = HttpServer(port, client, registry, keys, config.http, config.drain, on_stopped=engine.wake)
    try:
        server.start()
        if made:
            echo(f"a key was made, and is shown this once: {keys.code} ({hub}/{KEYS_FILE} has all of them)")
        echo(f"answers at {server.url}, hub {hub}")
        for name, methods, path in server.routes:
            echo(f"  {name}: {','.join(methods)} {server.url}{path}")
        yield server
    finally:
        server.close()


def _finish_requests(server: HttpServer | None, engine: Engine, until: float) -> None:
    """Take no new requests, and finish those that run: what they post has to be taken for that. What they would have
    begun is the next engine's."""
    if server is None:
        return
    if engine.dispatcher is not None:
        engine.dispatcher.pause()
    server.stop_accepting()
    while server.alive and monotonic() < until:
        engine.step(_POLL_INTERVAL)


# ── timer functions ────────────────────────────────────────────────────────────────────────────────────────────────


def _ensure_timers(loaded: LoadedApp, hub: Hub, since: datetime, echo: Echo) -> None:
    """Through the inbox: the engine, which would take it at once, doesn't run yet."""
    from durablecli.builtin import timer

    complete = all(module.error is None for module in loaded.modules)
    timer.ensure_timers(
        loaded.registry, Client(hub.root), Inbox(LocalDisk(), hub.root), since, is_complete=complete, warn=echo
    )


# ── the parts ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _open_hub(state_dir: str, echo: Echo) -> Iterator[Hub]:
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
    except (PermissionError, NoPermission) as error:  # opening went well: this is a failure of the disk
        raise StorageError(f"no permission any more: {error}") from error
    finally:
        close_hub(hub, clean=clean, oldest_needed_commit=hub.oldest_needed_commit)


@contextmanager
def _open_engine(
    hub: Hub,
    config: Config,
    loaded: LoadedApp,
    replay_always: bool,
    echo: Echo,
    get_endpoint: Callable[[], ManagementEndpoint | None] = lambda: None,
    only: str | None = None,
) -> Iterator[Engine]:
    """An engine that has taken up the hub, with its bell, its watchdog and its notice.

    `place` is where the hub answers HTTP, once it does. With `only`, that one instance is driven, and what belongs to
    it."""
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
        only_instance=only,
    )
    hang_file = Path(hub.root) / "turning.json"
    engine = Engine(
        hub,
        registry,
        options=options,
        make_dispatcher=lambda report: Dispatcher(
            registry,
            report,
            config.concurrency,
            config.app,
            os.path.join(loaded.folder, config.base),
            config.limits.payload,
            folder=loaded.folder,
        ),
        info_writer=EngineInfoWriter(hub.root, registry),
        echo=echo,
    )
    if any(one.kind == "timer" or one.client_parameter is not None or one.bindings for one in registry):
        from durablecli.azure import activities, invocation  # only apps that have such functions pay for it
        from durablecli.builtin import timer

        def make_clients() -> invocation.ClientProvider:
            return invocation.ClientProvider(Client(hub.root, engine), get_endpoint())

        timer.register_timers(registry, make_clients)
        activities.inject_clients(registry, make_clients)
    wakeup, watchdog = WakeupPipe(hub.root), Watchdog(engine.current_turn, hang_file, echo)
    hang_report = read_hang_report(hang_file)
    engine.log_capture.start()
    watchdog.start()
    # Thousands of live instances are no garbage: looking through them all the time costs a fifth of the throughput.
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, *thresholds[1:])
    wakeup.listen(engine.wake)
    try:
        resumed = engine.open(hang_report)
        if resumed:
            echo(f"resumed {_format_count(resumed, 'instance')}, which had work to do")
        yield engine
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        wakeup.close()
        watchdog.stop()
        engine.log_capture.stop()
        engine.close()


def _print_banner(config: Config, loaded: LoadedApp, hub: Hub, echo: Echo) -> None:
    for module in loaded.modules:
        if module.error is not None:
            echo(f"not loaded: {module.name}: {module.error}")
    for remark in loaded.warnings:
        echo(remark)
    for places in loaded.registry.clashes.values():
        echo(f"disabled, as two functions share the name: {', '.join(places)}")
    if not len(loaded.registry):
        where = ", ".join(config.app) or "anywhere: make a folder workflows/, or name modules with --app"
        raise ConfigError(f"no function is loaded from {where}")
    kinds = [one.kind for one in loaded.registry]
    echo(f"hub {display_path(hub.root)}, pid {os.getpid()}, epoch {hub.epoch}")
    found = [
        _format_count(kinds.count("orchestrator"), "orchestrator"),
        _format_count(kinds.count("activity"), "activity", "activities"),
    ]
    if "entity" in kinds:
        found.append(_format_count(kinds.count("entity"), "entity", "entities"))
    if "http" in kinds:
        found.append(_format_count(kinds.count("http"), "HTTP function"))
    if "timer" in kinds:
        found.append(_format_count(kinds.count("timer"), "timer"))
    echo(f"loaded {', '.join(found[:-1])} and {found[-1]} from {', '.join(config.app)}")


def _format_count(number: int, singular: str, plural: str = "") -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _log_warning(text: str) -> None:
    logging.getLogger("durablecli").warning("%s", text)
