"""Embeds an engine in a Python program."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from msgspec.structs import replace

from durablecli.apps.function_registry import add_functions, find_source_files
from durablecli.apps.load import load_targets
from durablecli.apps.modules import LoadedApp
from durablecli.client import Client, DurableOrchestrationClient
from durablecli.config import Config, config_from_mapping
from durablecli.daemon.assembly import log_warning, open_engine, open_own_hub
from durablecli.engine.engine import Engine
from durablecli.errors import ConfigError
from durablecli.project import make_absolute
from durablecli.registry import Registry


def embedded(
    app: Any, state_dir: str | Path | None = None, *, config: Config | Mapping[str, object] | None = None
) -> EmbeddedEngine:
    """Run an engine in a thread of this process: `with df.embedded([orders], "orders.state") as client: …`.

    `app` is a decorated function, a module, a `df.DFApp`, or a path as of the option `--app`; or a list of these.
    `config` are settings as in durable.yaml, which isn't read: `{"concurrency": {"activities": 4}}`. Without
    `state_dir` the folder is that of the settings, by default `.state`.

    `with` gives a `df.Client`, and `async with` a `df.DurableOrchestrationClient`. At the end of the block running
    activities may continue for the time that `drain` sets; what has not ended continues with the next engine.

    Raises ConfigError for invalid settings and for a path that can't be loaded, and TypeError for what isn't an app.
    The block raises HubLocked at its start if another engine has the state directory, and at its end what has stopped
    the engine.
    """
    settings = config if isinstance(config, Config) else config_from_mapping(config or {})
    settings = replace(settings, state_dir=make_absolute(settings.state_dir if state_dir is None else state_dir))
    return EmbeddedEngine(*_load(app, settings))


def _load(app: Any, config: Config) -> tuple[LoadedApp, Config]:
    if isinstance(app, Registry):
        return LoadedApp(app, (), folder=os.getcwd()), config
    given = list(app) if isinstance(app, Iterable) and not isinstance(app, (str, ModuleType)) else [app]
    paths = tuple(os.path.abspath(each) if _is_file(each) else str(each) for each in given if _is_path(each))
    loaded = load_targets(paths, os.getcwd()) if paths else LoadedApp(Registry(), (), folder=os.getcwd())
    if errors := [module.error for module in loaded.modules if module.error]:
        raise ConfigError("; ".join(errors))
    others = Registry()
    add_functions(others, [each for each in given if not _is_path(each)])
    for function in others:
        loaded.registry.add_function(function)
    if not len(loaded.registry):
        raise ConfigError(f"app: {app!r} has no function: decorate one with @df.orchestrator or @df.activity")
    return loaded, replace(config, app=(*paths, *find_source_files(others)), base=os.getcwd())


def _is_path(thing: object) -> bool:
    return isinstance(thing, (str, os.PathLike))


def _is_file(thing: Any) -> bool:
    return _is_path(thing) and os.path.exists(thing)


class EmbeddedEngine:
    """An engine in a thread, for the time of a `with` or an `async with` block."""

    def __init__(self, loaded: LoadedApp, config: Config) -> None:
        self._loaded = loaded
        self._config = config
        self._ready = threading.Event()
        self._engine: Engine | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="durable-engine", daemon=True)

    def __enter__(self) -> Client:
        return Client(self._config.state_dir, self._start())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        if error is None:
            self._check()

    async def __aenter__(self) -> DurableOrchestrationClient:
        import asyncio  # slow to load, and not needed by programs without an event loop

        return DurableOrchestrationClient(self._config.state_dir, await asyncio.to_thread(self._start))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def _start(self) -> Engine:
        """Return the engine once it has opened the hub; raises what stopped it from doing so."""
        self._thread.start()
        self._ready.wait()
        self._check()
        assert self._engine is not None
        return self._engine

    def _stop(self) -> None:
        if self._engine is not None:
            self._engine.stop()
        self._thread.join()

    def _check(self) -> None:
        """Raise the error that stopped the engine, if one did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with (
                open_own_hub(self._config.state_dir, log_warning) as hub,
                open_engine(hub, self._config, self._loaded, log_warning, owns_process=False) as engine,
            ):
                self._engine = engine
                self._ready.set()
                engine.run()
                engine.drain(self._config.drain)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._error = error
        finally:
            self._ready.set()
