"""The paths for monitoring: /metrics, /health and /ready.

/health and /ready need no key, and tell no more than a word and a reason. /metrics names functions, so that it needs
the system key wherever a key is needed; Prometheus sends it as a bearer token.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from durablecli.client import Client
from durablecli.engine.engine import Engine
from durablecli.http.exposition import Exposition
from durablecli.http.key_check import check_key
from durablecli.http.responses import SECURITY_HEADERS, ApiError, Shutdown, json_response
from durablecli.serving.api_keys import ApiKeys, KeyLevel
from durablecli.serving.daemon_threads import DaemonThreadPool

_NO_ENGINE = "no engine runs in this process"


class Monitoring:
    """The handlers. `client` is that of the server; without an engine in this process, /ready is 503."""

    def __init__(self, client: Client, keys: ApiKeys, shutdown: Shutdown) -> None:
        self._engine = client.mailbox if isinstance(client.mailbox, Engine) else None
        self._keys = keys
        self._shutdown = shutdown
        self._thread = DaemonThreadPool(1, "durable-metrics")

    def make_routes(self, function_paths: Collection[str]) -> list[BaseRoute]:
        """Make the routes. They come before the functions of the app, which may match any path; but a function with
        exactly such a path has it."""
        handlers = {"/metrics": self.get_metrics, "/health": self.get_health, "/ready": self.get_readiness}
        taken = {path.lower() for path in function_paths}
        return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items() if path not in taken]

    async def get_health(self, request: Request) -> Response:
        """Respond 200: the process is alive."""
        return json_response({"status": "alive"})

    async def get_readiness(self, request: Request) -> Response:
        """Respond 200 if the engine takes work and makes progress, else 503 with the reason."""
        reason = self._why_not_ready()
        return (
            json_response({"status": "ready"})
            if reason is None
            else json_response({"status": "not ready", "reason": reason}, 503)
        )

    def _why_not_ready(self) -> str | None:
        engine = self._engine
        if engine is None:
            return _NO_ENGINE
        if self._shutdown.requested or engine.is_stopping or not engine.is_running:
            return "the engine is stopping"
        return engine.metrics.why_stalled()

    async def get_metrics(self, request: Request) -> Response:
        """Respond with the metrics in the format of Prometheus, or of OpenMetrics if the client accepts it."""
        check_key(self._keys, request, KeyLevel.SYSTEM, bearer=True)
        engine = self._engine
        if engine is None:
            raise ApiError(503, _NO_ENGINE, kind="Unavailable")
        from durablecli.http.metrics_page import write_metrics  # imported when it is asked for

        page = Exposition(openmetrics="application/openmetrics-text" in request.headers.get("accept", ""))
        disk = await self._thread.run(engine.metrics.disk_usage)
        text = write_metrics(page, engine.metrics.snapshot(), disk.parts, disk.free)
        return Response(text, headers={**SECURITY_HEADERS, "content-type": page.media_type})
