"""Embeds an engine in a Python program."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from durablecli.apps.modules import LoadedApp
from durablecli.client import Client
from durablecli.config import Config
from durablecli.daemon.assembly import log_warning, open_engine, open_own_hub
from durablecli.engine.engine import Engine
from durablecli.project import make_absolute
from durablecli.registry import Registry


@contextmanager
def embedded(app: Registry | ModuleType | Sequence[ModuleType], state_dir: str | Path) -> Iterator[Client]:
    """Run an engine in a thread of this process, and yield a client that submits to it directly."""
    registry = app if isinstance(app, Registry) else Registry()
    if not isinstance(app, Registry):
        for module in [app] if isinstance(app, ModuleType) else app:
            registry.add_module(module)
    config = Config(state_dir=make_absolute(state_dir))
    runner = _EmbeddedEngine(config, registry)
    engine = runner.start()
    try:
        yield Client(config.state_dir, engine)
    finally:
        engine.stop()
        runner.join()
    runner.check()


class _EmbeddedEngine:
    """The thread of an embedded engine."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._ready = threading.Event()
        self._engine: Engine | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="durable-engine", daemon=True)

    def start(self) -> Engine:
        """Return the engine once it has opened the hub; raises what stopped it from doing so."""
        self._thread.start()
        self._ready.wait()
        self.check()
        assert self._engine is not None
        return self._engine

    def join(self) -> None:
        self._thread.join()

    def check(self) -> None:
        """Raise the error that stopped the engine, if one did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        loaded = LoadedApp(self._registry, ())
        try:
            with (
                open_own_hub(self._config.state_dir, log_warning) as hub,
                open_engine(hub, self._config, loaded, log_warning) as engine,
            ):
                self._engine = engine
                self._ready.set()
                engine.run()
                engine.drain(self._config.drain)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._error = error
        finally:
            self._ready.set()
