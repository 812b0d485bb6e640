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

from durablecli.app import Registry
from durablecli.apps.load import load_configured
from durablecli.apps.modules import LoadedApp
from durablecli.builtin.call_http import built_ins
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
from durablecli.project import absolute, shown
from durablecli.signals import Interrupted, Signals
from durablecli.store.disk import LocalDisk
from durablecli.store.hub import Hub, close_hub, open_hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import RUN_VARIABLE, MessageItem, Receipt
from durablecli.store.inbox.wakeup import WakeupPipe

if TYPE_CHECKING:  # only whoever asks for HTTP pays for it
    from durablecli.http.server import HttpServer
    from durablecli.management_links import Place

Say = Callable[[str], None]
_AGAIN = 0.1
_PATIENCE = 1.0  # seconds until somebody who waits is told why


def serve(
    config: Config,
    *,
    state_dir: str,
    until_idle: bool = False,
    replay_always: bool = False,
    listen: str | None = None,
    say: Say = print,
    signals: Signals | None = None,
) -> int:
    """Be the hub's engine in the foreground, until a signal or, with `until_idle`, until nothing can move.

    `listen` says where to answer HTTP; without it the settings do. `signals` are handled already, if they are given.
    """
    logging.basicConfig(level=config.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    since, server = datetime.now(UTC), None
    if listen is not None:
        config = msgspec.structs.replace(config, http=msgspec.structs.replace(config.http, listen=listen))
    # Whose hub it is counts before whose port.
    handled = Signals(say) if signals is None else nullcontext(signals)
    with (
        handled as signals,
        child_action(signals.restore),
        _hub(state_dir, say) as hub,
        _port(config.http.listen) as port,
    ):
        loaded = _load(config, signals)
        if loaded is None:
            if signals.received == signal.SIGINT:
                return signals.exit_code
            say("stopped while loading the modules; nothing was begun")
            return 0
        _introduce(config, loaded, hub, say)
        with (
            _engine(hub, config, loaded, replay_always, say, lambda: server.place if server else None) as engine,
            signals.stopping(engine.stop),
            _http(port, config, loaded.registry, engine, say) as server,
        ):
            _keep_timers(loaded, hub, since, say)
            engine.run(until=lambda engine: (until_idle and engine.is_idle) or (server is not None and server.broken))
            say("idle: nothing can move without a timer or an event" if until_idle else "stopping")
            until = monotonic() + config.drain.total_seconds()
            _let_requests_end(server, engine, monotonic() + config.drain.total_seconds() / 2)
            engine.drain(timedelta(seconds=max(0.0, until - monotonic())))
            if server is not None:
                server.check()
    return 0


def _load(config: Config, signals: Signals) -> LoadedApp | None:
    """Import the modules; None if a signal comes meanwhile."""
    try:
        with signals.interrupting():
            return load_configured(config)
    except Interrupted:
        return None


def work_until(
    config: Config,
    state_dir: str,
    loaded: LoadedApp,
    instance: str,
    signals: Signals,
    *,
    everything: bool = False,
    say: Say = lambda text: None,
) -> None:
    """See that an instance ends: as the hub's engine if nobody else is, else by waiting, ready to take over.

    As the engine it drives this instance and what belongs to it, or `everything`. It lets activities that run at the
    end finish, for as long as the settings give them. Returns too after a signal, which leaves the instance as it is,
    and when somebody has purged the instance.
    """
    client = Client(state_dir)
    only = None if everything else instance
    told_at: float | None = monotonic() + _PATIENCE

    def has_ended(engine: Engine) -> bool:
        # What the engine knows may be the execution that a start in the inbox is to replace.
        return engine.has_ended(instance) and client.has_ended(instance)

    while signals.received is None and not client.has_ended(instance):
        try:
            with (
                signals.interrupting(False),
                child_action(signals.restore),
                _hub(state_dir, lambda text: None) as hub,
                _as_run(only),
                _engine(hub, config, loaded, False, _warn, only=only) as engine,
                signals.stopping(engine.stop),
            ):
                engine.run(until=has_ended)
                if signals.received is not None:
                    engine.scope.close()
                _finish(engine, config.drain, say)
        except HubLocked as locked:
            if told_at is not None and monotonic() >= told_at and _is_pending(client, instance):
                say(f"{instance} is still Pending, and begins at the latest when that engine ends: {locked}")
                told_at = None
            threading.Event().wait(_AGAIN)


def _is_pending(client: Client, instance: str) -> bool:
    """Whether no engine has begun it, as one that runs another instance alone never does."""
    return client.get_status(instance, show_input=False).runtime_status is OrchestrationRuntimeStatus.Pending


def _finish(engine: Engine, limit: timedelta, say: Say) -> None:
    """Let the calls finish that have been given out, also those that no thread has begun yet, then drain."""
    until = monotonic() + limit.total_seconds()
    given = (
        set()
        if engine.is_stopping or engine.dispatcher is None
        else {call.key for call in engine.dispatcher.iter_in_flight()}
    )
    told_at: float | None = monotonic() + _PATIENCE
    while engine.dispatcher is not None and (
        given := given & {call.key for call in engine.dispatcher.iter_in_flight()}
    ):
        if monotonic() >= until or engine.is_stopping:
            break
        if told_at is not None and monotonic() >= told_at:
            say(f"waiting for {_counted(len(given), 'call')} to finish, for {limit.total_seconds():g} s at most")
            told_at = None
        engine.step(_AGAIN)
    engine.drain(timedelta(seconds=max(0.0, until - monotonic())))


@contextmanager
def _as_run(instance: str | None) -> Iterator[None]:
    """Let what the code of this process posts, and the processes that it begins, belong to a run."""
    if instance is None:
        yield
        return
    os.environ[RUN_VARIABLE] = instance
    try:
        yield
    finally:
        os.environ.pop(RUN_VARIABLE, None)


def act(state_dir: str, kind: str, items: Sequence[MessageItem]) -> Receipt:
    """Carry out a message that needs no user code: here and now if no engine runs, else by posting it."""
    state_dir = absolute(state_dir)
    try:
        hub = open_hub(state_dir, timeout=0.0)
    except HubLocked:
        return Inbox(LocalDisk(), state_dir).post(kind, items)
    engine = Engine(hub, None, echo=_warn)
    try:
        engine.process_inbox()
        posted = engine.submit(kind, items)
        while not posted.done.is_set():
            engine.step(_AGAIN)
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
    root = absolute(state_dir)
    config = Config(state_dir=root)
    ready, box = threading.Event(), _Box()
    thread = threading.Thread(target=_embed, args=(config, registry, ready, box), name="durable-engine", daemon=True)
    thread.start()
    ready.wait()
    if box.error is not None or box.engine is None:
        raise box.error or RuntimeError("the engine didn't start")
    try:
        yield Client(root, box.engine)
    finally:
        box.engine.stop()
        thread.join()
    if box.error is not None:
        raise box.error


class _Box:
    """What the engine's thread hands to the one that started it."""

    engine: Engine | None = None
    error: BaseException | None = None


def _embed(config: Config, registry: Registry, ready: threading.Event, box: _Box) -> None:
    try:
        with (
            _hub(config.state_dir, _warn) as hub,
            _engine(hub, config, LoadedApp(registry, ()), False, _warn) as engine,
        ):
            box.engine = engine
            ready.set()
            engine.run()
            engine.drain(config.drain)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        box.error = error
    finally:
        ready.set()


# ── HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _port(listen: str | int | None) -> Iterator[socket | None]:
    """The port, taken before anything is begun that would have to be undone."""
    if listen is None:
        yield None
        return
    from durablecli.http.server import bind  # only whoever asks for HTTP pays for it

    with bind(str(listen)) as taken, child_action(taken.close):
        yield taken


@contextmanager
def _http(
    port: socket | None, config: Config, registry: Registry, engine: Engine, say: Say
) -> Iterator[HttpServer | None]:
    if port is None:
        if unserved := registry.functions_of_kind("http"):
            say(f"{_counted(len(unserved), 'HTTP function')} not served: add --http 7071, or set http.listen")
        yield None
        return
    from durablecli.http.api_keys import find_keys
    from durablecli.http.server import HttpServer
    from durablecli.store.http_keys import FILE

    keys, made = find_keys(port.getsockname()[0], config.http.keys, engine.hub.root)
    hub, client = shown(engine.hub.root), Client(engine.hub.root, engine)
    server = HttpServer(port, client, registry, keys, config.http, config.drain, left=engine.wake)
    try:
        server.start()
        if made:
            say(f"a key was made, and is shown this once: {keys.code} ({hub}/{FILE} has all of them)")
        say(f"answers at {server.url}, hub {hub}")
        for name, methods, path in server.served:
            say(f"  {name}: {','.join(methods)} {server.url}{path}")
        yield server
    finally:
        server.close()


def _let_requests_end(server: HttpServer | None, engine: Engine, until: float) -> None:
    """Take no new requests, and finish those that run: what they post has to be taken for that. What they would have
    begun is the next engine's."""
    if server is None:
        return
    if engine.dispatcher is not None:
        engine.dispatcher.pause()
    server.leave()
    while server.alive and monotonic() < until:
        engine.step(_AGAIN)


# ── timer functions ────────────────────────────────────────────────────────────────────────────────────────────────


def _keep_timers(loaded: LoadedApp, hub: Hub, since: datetime, say: Say) -> None:
    """Through the inbox: the engine, which would take it at once, doesn't run yet."""
    from durablecli.builtin import timer

    whole = all(module.error is None for module in loaded.modules)
    timer.keep(loaded.registry, Client(hub.root), Inbox(LocalDisk(), hub.root), since, whole=whole, say=say)


# ── the parts ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _hub(state_dir: str, say: Say) -> Iterator[Hub]:
    def progress(done: int) -> None:
        if done and done % 10_000 == 0:
            say(f"rebuilding the index: {done:,} instances")

    hub = open_hub(absolute(state_dir), progress=progress, on_create=lambda root: say(f"created the hub {root}"))
    clean = False
    try:
        yield hub
        clean = True
    except (PermissionError, NoPermission) as error:  # opening went well: this is a failure of the disk
        raise StorageError(f"no permission any more: {error}") from error
    finally:
        close_hub(hub, clean=clean, oldest_needed_commit=hub.oldest_needed_commit)


@contextmanager
def _engine(
    hub: Hub,
    config: Config,
    loaded: LoadedApp,
    replay_always: bool,
    say: Say,
    place: Callable[[], Place | None] = lambda: None,
    only: str | None = None,
) -> Iterator[Engine]:
    """An engine that has taken up the hub, with its bell, its watchdog and its notice.

    `place` is where the hub answers HTTP, once it does. With `only`, that one instance is driven, and what belongs to
    it."""
    registry = loaded.registry
    registry.add_built_in(built_ins(config.call_http.poll, config.call_http.timeout))
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
    note = Path(hub.root) / "turning.json"
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
        echo=say,
    )
    if any(one.kind == "timer" or one.client_parameter is not None or one.bindings for one in registry):
        from durablecli.azure import activities, invocation  # only apps that have such functions pay for it
        from durablecli.builtin import timer

        def clients() -> invocation.Clients:
            return invocation.Clients(Client(hub.root, engine), place())

        timer.build_in(registry, clients)
        activities.give_clients(registry, clients)
    bell, watchdog = WakeupPipe(hub.root), Watchdog(engine.current_turn, note, say)
    stuck = read_hang_report(note)
    engine.log_capture.start()
    watchdog.start()
    # Thousands of live instances are no garbage: looking through them all the time costs a fifth of the throughput.
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, *thresholds[1:])
    bell.listen(engine.wake)
    try:
        resumed = engine.open(stuck)
        if resumed:
            say(f"resumed {_counted(resumed, 'instance')}, which had work to do")
        yield engine
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        bell.close()
        watchdog.stop()
        engine.log_capture.stop()
        engine.close()


def _introduce(config: Config, loaded: LoadedApp, hub: Hub, say: Say) -> None:
    for module in loaded.modules:
        if module.error is not None:
            say(f"not loaded: {module.name}: {module.error}")
    for remark in loaded.warnings:
        say(remark)
    for places in loaded.registry.clashes.values():
        say(f"disabled, as two functions share the name: {', '.join(places)}")
    if not len(loaded.registry):
        where = ", ".join(config.app) or "anywhere: make a folder workflows/, or name modules with --app"
        raise ConfigError(f"no function is loaded from {where}")
    kinds = [one.kind for one in loaded.registry]
    say(f"hub {shown(hub.root)}, pid {os.getpid()}, epoch {hub.epoch}")
    found = [
        _counted(kinds.count("orchestrator"), "orchestrator"),
        _counted(kinds.count("activity"), "activity", "activities"),
    ]
    if "entity" in kinds:
        found.append(_counted(kinds.count("entity"), "entity", "entities"))
    if "http" in kinds:
        found.append(_counted(kinds.count("http"), "HTTP function"))
    if "timer" in kinds:
        found.append(_counted(kinds.count("timer"), "timer"))
    say(f"loaded {', '.join(found[:-1])} and {found[-1]} from {', '.join(config.app)}")


def _counted(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _warn(text: str) -> None:
    logging.getLogger("durablecli").warning("%s", text)
