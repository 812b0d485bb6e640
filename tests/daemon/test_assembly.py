"""The engine's parts: if one can't be started or stopped, the others are stopped, in reverse order."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import durablecli as df
from durablecli import testing
from durablecli.apps.modules import LoadedApp
from durablecli.config import Config
from durablecli.daemon.assembly import open_engine, open_own_hub
from durablecli.engine.engine import Engine
from durablecli.engine.watchdog import Watchdog
from durablecli.store.inbox.wakeup import WakeupPipe


@df.activity
def add_one(value: int) -> int:
    return value + 1


@contextmanager
def opened(root: Path) -> Iterator[Engine]:
    loaded = LoadedApp(testing.build_registry(add_one), ())
    with (
        open_own_hub(str(root), lambda text: None) as hub,
        open_engine(hub, Config(state_dir=str(root)), loaded, lambda text: None) as engine,
    ):
        yield engine


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder for a hub. At the end nothing of an engine is left in the process."""
    before = sys.stdout, sys.stderr, logging.Logger.callHandlers, gc.get_threshold(), set(threading.enumerate())
    yield tmp_path / "hub"
    assert (sys.stdout, sys.stderr, logging.Logger.callHandlers, gc.get_threshold()) == before[:4]
    assert [thread.name for thread in set(threading.enumerate()) - before[4]] == []
    assert gc.get_freeze_count() == 0


def raise_no_handle(*_: object) -> None:
    raise OSError("no file handle left")


@pytest.mark.parametrize(("owner", "method"), [(WakeupPipe, "listen"), (Watchdog, "start"), (Engine, "open")], ids=str)
def test_a_part_that_cannot_start_leaves_nothing_running(
    root: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    monkeypatch.setattr(owner, method, raise_no_handle)
    with pytest.raises(OSError, match="no file handle left"), opened(root):
        raise AssertionError("the engine is open")
    monkeypatch.undo()
    with opened(root) as engine:
        assert not engine.is_stopping


def test_a_part_that_cannot_stop_leaves_nothing_running(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = WakeupPipe.close

    def close_and_raise(self: WakeupPipe) -> None:
        close(self)
        raise_no_handle()

    monkeypatch.setattr(WakeupPipe, "close", close_and_raise)
    with pytest.raises(OSError, match="no file handle left"), opened(root):
        pass


def test_parts_stop_in_the_reverse_order_of_their_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def note(owner: type, method: str) -> None:
        original = getattr(owner, method)

        def call(self: object, *arguments: object) -> object:
            calls.append(f"{owner.__name__}.{method}")
            return original(self, *arguments)

        monkeypatch.setattr(owner, method, call)

    for owner, method in (
        (Watchdog, "start"), (Watchdog, "stop"), (WakeupPipe, "listen"), (WakeupPipe, "close"), (Engine, "close"),
    ):  # fmt: skip
        note(owner, method)
    with opened(root):
        pass
    assert calls == ["Watchdog.start", "WakeupPipe.listen", "WakeupPipe.close", "Watchdog.stop", "Engine.close"]
