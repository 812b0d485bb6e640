"""Decides whether there is tracing, from the settings and the OTEL_ variables, before anything is imported for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from durablecli.config import TelemetryConfig
from durablecli.errors import ConfigError
from durablecli.telemetry.interface import Tracing

_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_INSTALL_HINT = "pip install 'durablecli[otel]'"
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTERS = ("otlp", "console", "none")


@contextmanager
def open_tracing(
    settings: TelemetryConfig,
    echo: Callable[[str], None],
    *,
    owns_process: bool = True,
    env: Mapping[str, str] = os.environ,
) -> Iterator[Tracing | None]:
    """Open tracing, and close it at the end; None if it is off. With `owns_process` spans that the author's code makes
    are exported too, unless that code has set up OpenTelemetry itself.

    Raises ConfigError if the settings ask for traces, and the extra isn't installed or the exporter is unknown.
    """
    tracing = _make_tracing(settings, echo, owns_process, env)
    try:
        yield tracing
    finally:
        if tracing is not None:
            tracing.close()


def _make_tracing(
    settings: TelemetryConfig, echo: Callable[[str], None], owns_process: bool, env: Mapping[str, str]
) -> Tracing | None:
    exporter = _choose_exporter(settings, env)
    if exporter is None:
        return None
    if (missing := _find_missing_package()) is not None:
        if settings.traces:
            raise ConfigError(f"telemetry.traces: the package {missing} isn't installed: {_INSTALL_HINT}")
        echo(f"no traces are sent: the package {missing} isn't installed: {_INSTALL_HINT}")
        return None
    from durablecli.telemetry.opentelemetry_tracing import OpenTelemetryTracing

    return OpenTelemetryTracing(exporter, settings, env, owns_process=owns_process)


def _choose_exporter(settings: TelemetryConfig, env: Mapping[str, str]) -> str | None:
    """`otlp` or `console`; None if there is no tracing."""
    if settings.traces is False or env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    named = env.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if named == "none":
        return None
    if named and named not in _EXPORTERS:
        raise ConfigError(f"OTEL_TRACES_EXPORTER: unknown exporter {named!r}; use one of {', '.join(_EXPORTERS)}")
    wanted = settings.traces or settings.endpoint or any(env.get(each) for each in _ENDPOINT_VARIABLES)
    return named or ("otlp" if wanted else None)


def _find_missing_package() -> str | None:
    """The distribution that is missing; None if all are installed."""
    for package in _PACKAGES:
        try:
            found = find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return {"opentelemetry.sdk": "opentelemetry-sdk"}.get(package, "opentelemetry-exporter-otlp-proto-http")
    return None
