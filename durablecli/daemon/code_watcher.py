"""Watches the files of an app, and puts changed code into the running engine.

Code that can't be loaded changes nothing: the code before it still runs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from time import monotonic
from typing import TYPE_CHECKING

from durablecli.apps.load_warnings import format_clash, load_warnings
from durablecli.apps.modules import LoadedApp
from durablecli.apps.reload import ReloadError, StillChanging, reload
from durablecli.apps.source_changes import SourceChanges
from durablecli.config import Config
from durablecli.daemon.assembly import Echo
from durablecli.daemon.engine_app import EngineApp
from durablecli.engine.code_replacer import Replaced
from durablecli.engine.thread_start import start_thread
from durablecli.errors import DurableError
from durablecli.plurals import format_count
from durablecli.project import CONFIG_FILE, display_path

if TYPE_CHECKING:  # slow to import
    from watchfiles import Change

_SETTLE_MS = 50
"""Changes that follow each other within this time are one: editors write a file in several steps."""
_MAX_WAIT_MS = 400
_CHECK_INTERVAL_MS = 1000
_RETRY_INTERVAL = 0.5
_POLL_INTERVAL = 0.1
_BUSY_AFTER = 5.0
_MAX_NAMES = 3
_MAX_FOLDERS = 500
_APP_FILES = frozenset({"function.json", "local.settings.json"})
_SETTINGS_FILES = frozenset({CONFIG_FILE, "host.json"})
_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})


class CodeWatcher:
    """Reloads the app of an engine, in a thread of its own, until it is stopped.

    `on_replaced` is called with the old and the new app when the functions of the new one run.
    """

    def __init__(
        self, config: Config, app: EngineApp, echo: Echo, on_replaced: Callable[[LoadedApp, LoadedApp], None]
    ) -> None:
        self._config = config
        self._app = app
        self._echo = echo
        self._on_replaced = on_replaced
        self._loaded = app.loaded
        self._changes = SourceChanges(app.loaded)
        self._error = ""
        self._seen = {path: _read(path) for path in self._list_other_files()}
        """The content of files that aren't loaded, or not as they were at the last look: a file that is saved without a
        change does nothing."""
        self._pending: set[str] = set()
        """Changed files that were still being written at the last look."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable-watch", daemon=True)

    def start(self) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        self._set_error(_find_error(self._loaded))
        start_thread(self._thread)

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    # ── watching ───────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch(self._find_folders())
            except OSError:  # a folder has gone since
                self._stop.wait(_RETRY_INTERVAL)

    def _watch(self, folders: list[str]) -> None:
        """Handle changes in these folders, until others have to be watched or the watcher is stopped."""
        from watchfiles import watch

        watching = watch(
            *folders,
            watch_filter=_is_relevant,
            debounce=_MAX_WAIT_MS,
            step=_SETTLE_MS,
            stop_event=self._stop,
            rust_timeout=_CHECK_INTERVAL_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        )
        with closing(watching):
            for changes in watching:
                # None were reported: look for those before the watch began, or on a disk that reports nothing.
                self._handle([path for _, path in changes] or [*self._changes.find(), *self._list_other_files()])
                if self._find_folders() != folders:
                    return

    def _find_folders(self) -> list[str]:
        """Return the folders to watch: those of the loaded files, and those of the project."""
        roots = [os.path.join(self._config.base, target) for target in self._config.app]
        folders = {os.path.dirname(path) for path in list(self._loaded.contents)}
        for root in (*roots, self._config.project):
            if os.path.isdir(root):
                folders.update(_iter_folders(os.path.abspath(root), self._config.state_dir))
        return sorted(folder for folder in folders if os.path.isdir(folder))

    def _list_other_files(self) -> list[str]:
        """List the files of the app, and the settings, that aren't loaded."""
        roots = {os.path.abspath(os.path.join(self._config.base, target)) for target in self._config.app}
        folders = {folder for root in roots for folder in _iter_folders(root, self._config.state_dir)}
        files = (os.path.join(folder, name) for folder in folders for name in _list_names(folder))
        settings = (os.path.join(root, name) for root in (*roots, self._config.project) for name in _SETTINGS_FILES)
        return [path for path in (*files, *settings) if _is_code(path) and path not in self._loaded.contents]

    def _handle(self, paths: Iterable[str]) -> None:
        changed, self._pending = {path for path in paths if self._has_changed(path)} | self._pending, set()
        if settings := sorted(path for path in changed if os.path.basename(path) in _SETTINGS_FILES):
            self._echo(f"{display_path(settings[0])} changed: restart to apply")
        if sources := sorted(path for path in changed if self._is_source(path)):
            self._reload(sources)

    def _has_changed(self, path: str) -> bool:
        if not _is_code(path):
            return False
        before = self._seen.get(path, self._loaded.contents.get(path))
        self._seen[path] = now = _read(path)
        return now != before

    def _is_source(self, path: str) -> bool:
        """Whether the app may load a file: it did, or it is in a folder of it, or the last load has failed."""
        if os.path.basename(path) in _SETTINGS_FILES:
            return False
        targets = tuple(os.path.abspath(os.path.join(self._config.base, each)) + os.sep for each in self._config.app)
        return bool(self._error) or path in self._loaded.contents or path.startswith(targets)

    # ── reloading ──────────────────────────────────────────────────────────────────────────────────────────────

    def _reload(self, sources: list[str]) -> None:
        began = monotonic()
        try:
            with reload(self._config, self._loaded) as loaded:
                self._app.bind(loaded.registry)
        except ReloadError as error:
            self._report(str(error))
            return
        except StillChanging:
            self._pending.update(sources)
            return
        except Exception as error:  # noqa: BLE001 - the watcher continues, whatever the author's files contain
            self._report(f"the app can't be loaded again: {type(error).__name__}: {error}")
            return
        before, self._loaded, self._changes = self._loaded, loaded, SourceChanges(loaded)
        self._seen = {path: data for path, data in self._seen.items() if path not in loaded.contents}
        replaced = self._wait_for(self._app.replace(loaded))
        if replaced is None:
            return
        names = ", ".join(map(_describe_source, sources[:_MAX_NAMES]))
        more = f" and {len(sources) - _MAX_NAMES} more" if len(sources) > _MAX_NAMES else ""
        self._echo(f"reloaded in {monotonic() - began:.2f} s: {names}{more}{_format_replaced(replaced)}")
        for warning in load_warnings(loaded):
            self._echo(warning)
        self._set_error(_find_error(loaded))
        try:
            self._on_replaced(before, loaded)
        except DurableError as error:
            self._echo(f"after the reload: {error}")

    def _wait_for(self, replaced: Future[Replaced]) -> Replaced | None:
        """Wait until the engine runs the new code; None if the watcher is stopped before."""
        notify_at: float | None = monotonic() + _BUSY_AFTER
        while not self._stop.is_set():
            with suppress(TimeoutError):
                return replaced.result(_POLL_INTERVAL)
            if notify_at is not None and monotonic() > notify_at:
                notify_at = None
                self._echo("the new code runs once the turn is over that the engine is running")
        return None

    def _report(self, error: str) -> None:
        """Print once why the files can't be loaded, and show it on the pages of the dashboard."""
        code = self._app.code
        assert code is not None
        text = f"{error}; the code from {code.info.loaded_at.astimezone():%H:%M:%S} still runs"
        if text != self._error:
            self._echo(text)
        self._set_error(text)

    def _set_error(self, text: str) -> None:
        self._error = text
        if self._app.code is not None:
            self._app.code.set_error(text)


def _is_relevant(change: Change, path: str) -> bool:
    return _is_code(path) or (change.name == "added" and os.path.isdir(path))


def _is_code(path: str) -> bool:
    return path.endswith(".py") or os.path.basename(path) in _APP_FILES | _SETTINGS_FILES


def _find_error(loaded: LoadedApp) -> str:
    """Return a line on a module that can't be imported, or on functions that share a name; empty if there are none."""
    failed = [f"can't import {module.name}: {module.error}" for module in loaded.modules if module.error is not None]
    failed += [format_clash(each, disabled=True) for each in loaded.registry.clashes.values()]
    return failed[0] if failed else ""


def _describe_source(path: str) -> str:
    return os.path.basename(path) + ("" if os.path.exists(path) else " (removed)")


def _format_replaced(replaced: Replaced) -> str:
    live = f"; {format_count(replaced.live, 'instance')} continue{'s' * (replaced.live == 1)} with the new code"
    blocked = f"; {format_count(replaced.blocked, 'blocked instance')} tried again"
    return live * (replaced.live > 0) + blocked * (replaced.blocked > 0)


def _iter_folders(root: str, state_dir: str) -> Iterator[str]:
    """Yield a folder and those in it, but none that holds no code of the author."""
    waiting, count = [root], 0
    while waiting and count < _MAX_FOLDERS:
        folder = waiting.pop(0)
        count += 1
        yield folder
        try:
            entries = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        except OSError:
            continue
        waiting.extend(path for path in entries if _may_hold_code(path, state_dir))


def _may_hold_code(path: str, state_dir: str) -> bool:
    name = os.path.basename(path)
    if name.startswith(".") or name in _IGNORED_FOLDERS or path == state_dir:
        return False
    return not os.path.exists(os.path.join(path, "pyvenv.cfg"))


def _list_names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
