"""The app of an engine: its functions are bound to the engine, and those of a reloaded app are put in their place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from durablecli.apps.load_warnings import load_warnings
from durablecli.apps.modules import LoadedApp
from durablecli.apps.source_changes import SourceChanges
from durablecli.builtin.call_http import make_call_http_functions
from durablecli.builtin.hook_functions import make_hook_functions
from durablecli.builtin.schedule_entity import DeclaredSchedules, make_schedule_entity
from durablecli.config import Config, TelemetryConfig, import_folder
from durablecli.engine.code_replacer import Replaced
from durablecli.engine.code_state import CodeState
from durablecli.engine.engine import Engine
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.info_writer import EngineInfoWriter
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.pool import ReportResult
from durablecli.management_links import ManagementEndpoint
from durablecli.registry import Registry
from durablecli.store.hub import Hub
from durablecli.store.rate_file import RateFile

if TYPE_CHECKING:  # slow to import, and not needed by every daemon
    from durablecli.client import Client


class EngineApp:
    """Makes the engine of an app. `get_endpoint` returns the address of the HTTP API, once it listens, and `schedules`
    are those that the app declares, where they are known.

    With `reloads` the app is loaded again when its files have changed; else the engine says that they have.
    """

    def __init__(
        self,
        config: Config,
        loaded: LoadedApp,
        get_endpoint: Callable[[], ManagementEndpoint | None] = lambda: None,
        schedules: DeclaredSchedules | None = None,
        *,
        reloads: bool = False,
    ) -> None:
        self.loaded = loaded
        self.registry = loaded.registry
        """The functions of the engine: its content changes with each reload."""
        self._config = config
        self._get_endpoint = get_endpoint
        self._schedules = schedules or DeclaredSchedules()
        self._engine: Engine | None = None
        self._info_writer: EngineInfoWriter | None = None
        self._telemetry: TelemetryConfig | None = None
        changes = None if reloads or not loaded.contents else SourceChanges(loaded).find
        self.code = CodeState(datetime.now(UTC), changes) if reloads or changes is not None else None

    def make_engine(self, hub: Hub, options: EngineOptions, echo: Callable[[str], None]) -> Engine:
        """Make the engine, with the functions bound to it."""
        self._telemetry = self._config.telemetry if options.tracing is not None else None
        workers = None if options.remote_work is None else options.remote_work.list_workers
        warnings = load_warnings(self.loaded)
        self._info_writer = writer = EngineInfoWriter(hub.disk, hub.root, self.registry, warnings, workers, self.code)

        def make_dispatcher(report: ReportResult) -> Dispatcher:
            return Dispatcher(
                self.registry, report, self._config.concurrency, self._locate(self.loaded), self._config.limits.payload,
                tracing=options.tracing, remote_work=options.remote_work, rate_file=RateFile(hub.disk, hub.root),
            )  # fmt: skip

        self._engine = engine = Engine(
            hub, self.registry, options=options, make_dispatcher=make_dispatcher, info_writer=writer, echo=echo
        )
        engine.code.state = self.code
        self._bind_to(engine, self.registry)
        return engine

    def _locate(self, loaded: LoadedApp) -> AppLocation:
        base, project = os.path.join(loaded.folder, self._config.base), import_folder(self._config)
        return AppLocation(self._config.app, base, loaded.folder, self._telemetry, project, loaded.contents)

    def bind(self, registry: Registry) -> None:
        """Bind the functions of a reloaded app to the engine; they don't run yet."""
        assert self._engine is not None
        self._bind_to(self._engine, registry)

    def replace(self, loaded: LoadedApp) -> Future[Replaced]:
        """Have the functions of a reloaded app run, which are bound. The future is done when they do, and
        other processes see that."""
        engine, done = self._engine, Future[Replaced]()
        assert engine is not None

        def finish(replaced: Replaced) -> None:
            self.loaded = loaded
            if engine.dispatcher is not None:
                engine.dispatcher.set_app(self._locate(loaded))
            if self.code is not None:
                self.code.set_loaded(datetime.now(UTC))
            assert self._info_writer is not None
            self._info_writer.set_app(self.registry, load_warnings(loaded), partial(done.set_result, replaced))

        engine.code.request(loaded.registry, finish)
        return done

    def _bind_to(self, engine: Engine, registry: Registry) -> None:
        """Add durablecli's own functions, and give functions what they need of the engine."""
        settings = self._config.call_http
        registry.add_built_in(make_call_http_functions(settings.poll, settings.timeout))
        self._inject_clients(registry, engine)
        registry.add_built_in([make_schedule_entity(self._schedules), *self._make_hook_functions(engine)])

    def _inject_clients(self, registry: Registry, engine: Engine) -> None:
        """Register the timer functions, and give clients of the hub to the functions that ask for one."""
        if not any(each.kind == "timer" or each.has_bindings for each in registry):
            return
        from durablecli.azure import activities, invocation  # slow to import, and few apps need them
        from durablecli.builtin import timer_functions
        from durablecli.client import Client

        def make_clients() -> invocation.ClientProvider:
            return invocation.ClientProvider(Client(engine.hub.root, engine), self._get_endpoint())

        timer_functions.register_timers(registry, make_clients)
        activities.inject_clients(registry, make_clients)

    def _make_hook_functions(self, engine: Engine) -> Sequence[Callable[..., Any]]:
        """Make the functions that deliver events to hooks. Deliveries may be pending even if no hook is configured."""
        config = self._config

        def get_client() -> Client:
            from durablecli.client import Client  # slow to import, and needed for failures only

            return Client(engine.hub.root, engine, check_names=False)

        def get_page(instance: str) -> str | None:
            endpoint = self._get_endpoint()
            has_page = endpoint is not None and config.http.dashboard
            return f"{endpoint.origin}/ui/instances/{quote(instance, safe='')}" if endpoint and has_page else None

        return make_hook_functions(get_client, get_page, config.project)
