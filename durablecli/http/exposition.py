"""The text format in which Prometheus reads metrics: version 0.0.4, or OpenMetrics 1.0 for a client that accepts it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from durablecli.engine.metrics import HistogramSnapshot

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]
_NO_LABELS: Labels = {}


class Exposition:
    """A page of metrics under construction. Samples of one name are added together."""

    def __init__(self, *, openmetrics: bool = False) -> None:
        self._openmetrics = openmetrics
        self._lines: list[str] = []

    @property
    def media_type(self) -> str:
        return OPENMETRICS_TYPE if self._openmetrics else TEXT_TYPE

    def counter(self, name: str, help: str, *samples: tuple[Labels, float]) -> None:
        """Add a counter; its name ends with `_total`."""
        self._describe(name.removesuffix("_total") if self._openmetrics else name, "counter", help)
        self._lines += [_format_sample(name, labels, value) for labels, value in samples]

    def gauge(self, name: str, help: str, *samples: tuple[Labels, float]) -> None:
        """Add a gauge."""
        self._describe(name, "gauge", help)
        self._lines += [_format_sample(name, labels, value) for labels, value in samples]

    def histogram(self, name: str, help: str, values: HistogramSnapshot) -> None:
        """Add a histogram."""
        self._describe(name, "histogram", help)
        count = 0
        for bound, more in zip((*values.bounds, math.inf), values.counts, strict=True):
            count += more
            self._lines.append(_format_sample(f"{name}_bucket", {"le": _format_number(bound)}, count))
        self._lines.append(_format_sample(f"{name}_sum", _NO_LABELS, values.sum))
        self._lines.append(_format_sample(f"{name}_count", _NO_LABELS, count))

    def finish(self) -> str:
        """Return the page."""
        return "\n".join([*self._lines, *(["# EOF"] if self._openmetrics else []), ""])

    def _describe(self, family: str, kind: str, help: str) -> None:
        self._lines += [f"# HELP {family} {help}", f"# TYPE {family} {kind}"]


def _format_sample(name: str, labels: Labels, value: float) -> str:
    text = ",".join(f'{key}="{_escape(each)}"' for key, each in labels.items())
    return f"{name}{{{text}}} {_format_number(value)}" if text else f"{name} {_format_number(value)}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _format_number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    return str(value) if isinstance(value, int) else repr(float(value))
