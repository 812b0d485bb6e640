"""What all tests share: no settings from the developer's shell, and orchestrations that are live or replayed."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the end-to-end tests: they are the longest, and wait while other workers compute."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


def pytest_configure() -> None:
    # A shell script starts what it puts into the background with SIGINT ignored, and child processes inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clear_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DURABLE_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=[False, True], ids=["live", "replayed"])
def replay_always(request: pytest.FixtureRequest) -> bool:
    """Whether the engine replays a history at each turn: a test that asks for this runs with and without."""
    return bool(request.param)
