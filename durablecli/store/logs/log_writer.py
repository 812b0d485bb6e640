"""The writer of logs: appends what functions print and log, without a sync, to files of a limited size.

A log is an aid, so no failure of the disk is raised: it is reported once, and the lines are lost.
"""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic

from durablecli.model.log_entry import LogEntry, encode_entries
from durablecli.plurals import format_count
from durablecli.store.disk import Appender, Disk
from durablecli.store.journal.commits import PurgedExecution
from durablecli.store.layout import LOGS_FOLDER
from durablecli.store.logs.log_files import LogFiles, locate_log, remove_log

_MAX_OPEN_FILES = 16
_MAX_REMEMBERED = 10_000
_PAUSE_AFTER_ERROR = 1.0
_PERSISTENT_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""Errors that the next line would meet as well: for a second, nothing is written."""


class LogWriter:
    """Writes the logs of one hub, in the process of its engine; any thread may call it.

    Each log has at most two files, of half of `max_bytes` each: when the current one is full, it replaces the older.
    """

    def __init__(self, disk: Disk, root: str, max_bytes: int, warn: Callable[[str], None]) -> None:
        self._disk = disk
        self._root = root
        self._max_bytes = max_bytes
        self._warn = warn
        self._has_warned = False
        self._lock = threading.RLock()  # reentrant: a finalizer or a signal handler may print while a line is written
        self._open_files: OrderedDict[str, Appender] = OrderedDict()
        self._known_folders: set[str] = set()
        self._purged: dict[tuple[str, str], None] = {}
        """The executions that were purged last: a call that still runs must not create their log again."""
        self._retry_at = 0.0
        self._may_have_files = disk.exists(f"{root}/{LOGS_FOLDER}")

    def append(self, instance: str, entries: list[LogEntry]) -> None:
        """Append entries to the log of an instance."""
        with self._lock:
            if (instance, entries[0].execution) in self._purged or monotonic() < self._retry_at:
                return
            try:
                self._append(locate_log(self._root, instance), encode_entries(entries))
            except OSError as error:
                self._report(error)

    def remove_purged(self, purged: Iterable[PurgedExecution]) -> None:
        """Remove the logs of purged instances."""
        with self._lock:
            for each in purged:
                self._purged[each.instance, each.execution] = None
                if len(self._purged) > _MAX_REMEMBERED:
                    del self._purged[next(iter(self._purged))]
                if self._may_have_files:
                    self._close_file(locate_log(self._root, each.instance).current)
                    try:
                        remove_log(self._disk, self._root, each.instance)
                    except OSError as error:
                        self._report(error)

    def close(self) -> None:
        """Close the files; a later line opens its file again."""
        with self._lock:
            for path in list(self._open_files):
                self._close_file(path)

    def _append(self, files: LogFiles, data: bytes) -> None:
        file = self._open_file(files)
        if file.size and file.size + len(data) > self._max_bytes // 2:
            file = self._rotate(files)
        file.append(data)

    def _open_file(self, files: LogFiles) -> Appender:
        path = files.current
        file = self._open_files.get(path)
        if file is not None:
            self._open_files.move_to_end(path)
            return file
        if files.folder not in self._known_folders:
            self._check_folder(f"{self._root}/{LOGS_FOLDER}")
            self._check_folder(files.folder)
        try:
            file = self._disk.appender(path, create=False)
        except FileNotFoundError:
            file = self._create_file(files)
        self._known_folders.add(files.folder)
        self._open_files[path] = file
        if len(self._open_files) > _MAX_OPEN_FILES:
            self._close_file(next(iter(self._open_files)))
        if file.size and self._disk.read_from(path, file.size - 1, 1) != b"\n":
            file.append(b"\n")  # after a line that a crash has cut off
        return file

    def _check_folder(self, path: str) -> None:
        """Raise NotADirectoryError for a link, which may lead out of the hub."""
        info = self._disk.stat(path)
        if info is not None and info.kind != "folder":
            raise NotADirectoryError(errno.ENOTDIR, "not a folder of its own", path)

    def _create_file(self, files: LogFiles) -> Appender:
        self._may_have_files = True
        if files.folder in self._known_folders:
            with suppress(FileNotFoundError):  # removed meanwhile
                return self._disk.appender(files.current, create=True)
        self._disk.make_folder(f"{self._root}/{LOGS_FOLDER}")
        self._disk.make_folder(files.folder)
        return self._disk.appender(files.current, create=True)

    def _rotate(self, files: LogFiles) -> Appender:
        """Let the full file replace the older one, and begin a new one, which says what was dropped."""
        drops = self._disk.exists(files.old)
        self._close_file(files.current)
        self._disk.rename(files.current, files.old)
        file = self._open_file(files)
        if drops:
            text = f"older lines were dropped: a log holds {format_count(self._max_bytes, 'byte')} at most"
            file.append(encode_entries([LogEntry(datetime.now(UTC), "WARNING", text, "engine")]))
        return file

    def _close_file(self, path: str) -> None:
        file = self._open_files.pop(path, None)
        if file is not None:
            with suppress(OSError):
                file.close()

    def _report(self, error: OSError) -> None:
        self.close()
        if error.errno in _PERSISTENT_ERRORS:
            self._retry_at = monotonic() + _PAUSE_AFTER_ERROR
        if not self._has_warned:
            self._has_warned = True
            place = error.filename or f"{self._root}/{LOGS_FOLDER}"
            self._warn(f"{place}: {error.strerror or error}; lines that functions print are missing in the logs")
