"""What all tests share: no settings from the developer's shell, and the switch between live and replayed machines."""

from __future__ import annotations

import os

import pytest

SWITCH = "DURABLE_REPLAY_ALWAYS"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DURABLE_") and name != SWITCH:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def replay_always() -> bool:
    """Whether engines drop each machine after its turn: what holds for a live one must hold for a replayed one."""
    return os.environ.get(SWITCH, "") not in ("", "0")
