"""When traces are sent, and where to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from durablecli.config import TelemetryConfig, load_config
from durablecli.errors import ConfigError
from durablecli.model.trace_context import (
    TraceContext,
    is_root,
    make_execution_context,
    make_span_id,
    parse_traceparent,
)
from durablecli.telemetry import setup
from durablecli.telemetry.setup import open_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("settings", "env", "exporter"),
    [
        ({}, {}, None),
        ({}, ENDPOINT, "otlp"),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, "otlp"),
        ({}, {"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({}, {"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({}, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, None),
        ({}, {**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, None),
        ({"endpoint": "http://127.0.0.1:1"}, {}, "otlp"),
        ({"traces": True}, {}, "otlp"),
        ({"traces": False}, ENDPOINT, None),
    ],
)
def test_the_exporter_is_chosen(settings: dict[str, Any], env: dict[str, str], exporter: str | None) -> None:
    assert setup._choose_exporter(TelemetryConfig(**settings), env) == exporter


def test_an_unknown_exporter_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown exporter 'zipkin'; use one of otlp, console, none"):
        setup._choose_exporter(TelemetryConfig(), {"OTEL_TRACES_EXPORTER": "zipkin"})


def test_without_the_extra_traces_are_an_error_only_if_the_settings_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_PACKAGES", ("no_such_package.sdk",))
    lines: list[str] = []
    with open_tracing(TelemetryConfig(), lines.append, env=ENDPOINT) as tracing:
        assert tracing is None
    assert len(lines) == 1
    assert "pip install 'durablecli[otel]'" in lines[0]
    with (
        pytest.raises(ConfigError, match="pip install"),
        open_tracing(TelemetryConfig(traces=True), lines.append, env={}),
    ):
        pass


def test_settings_are_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "durable.yaml"
    file.write_text("telemetry: {traces: on, endpoint: 'http://localhost:4318', service_name: shop}\n")
    assert load_config(str(file), {}).telemetry == TelemetryConfig(True, "http://localhost:4318", "shop")


def test_the_span_of_an_execution_has_always_the_same_id() -> None:
    trace = TraceContext(HEADER, "v=1")
    context = make_execution_context(trace, "order-1", "2a")
    assert context == make_execution_context(trace, "order-1", "2a")
    assert context != make_execution_context(trace, "order-1", "2b")
    assert context is not None
    parsed = parse_traceparent(context.traceparent)
    assert parsed is not None
    assert (f"{parsed.trace_id:032x}", parsed.flags, context.tracestate) == (HEADER[3:35], 1, "v=1")
    assert parsed.span_id == make_span_id(trace, "order-1", "2a") != 0
    assert make_execution_context(None, "order-1", "2a") is None


@pytest.mark.parametrize(
    "text", ["", "00", HEADER[:-1], HEADER.replace("0af7", "zzzz"), f"00-{'0' * 32}-{'1' * 16}-01"]
)
def test_what_is_no_traceparent_has_no_trace(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_root_has_no_parent() -> None:
    assert is_root(TraceContext(f"00-{'1' * 32}-{'0' * 16}-01"))
    assert not is_root(TraceContext(HEADER))
