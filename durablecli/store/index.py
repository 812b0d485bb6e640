"""The index: an SQLite table with a row per instance and entity, derived from the histories and rebuilt from them.

Between checkpoints it is written without syncs, which is safe if the process is killed, but not after a power cut. So
the file's header (user_version) identifies the boot of the machine during which it was last written. After a reboot the
index is discarded, unless the last write was `make_durable`, which sets that mark to 0.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from zlib import crc32

import msgspec

from durablecli.errors import StorageError
from durablecli.model.status import InstanceSummary
from durablecli.store.file_handles import wait_for_handle
from durablecli.store.index_rows import COLUMNS, row_key, to_row, to_summary
from durablecli.store.process_identity import boot_id
from durablecli.store.query import Page, Query, compile_count, compile_page, make_page, sort_rows

FORMAT = 5
"""5 since rows have the failure of an instance, and its tags."""
MEMORY = ":memory:"
_FULL_CHECK_LIMIT = 4 * 1024 * 1024
_QUICK_CHECK_LIMIT = 32 * 1024 * 1024
"""The sizes up to which an index is checked on opening, with all its entries or at least its pages.

The checks take about 0.1 s and 0.01 s per MiB; in a larger index damage is detected when it is read.
"""
_DISK_ERRORS = frozenset(
    (
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_AUTH,
    )
)
_BUSY_TIMEOUT = 60.0  # a reader may be stopped in the middle of a page; the index lags meanwhile
_CACHE_KIB = 32768
_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE instances(entity INT, id TEXT, name TEXT, status TEXT, execution TEXT, parent TEXT, version TEXT,
  created INT, updated INT, records INT, bytes INT, next_due INT, owes INT, waiting TEXT, blocked TEXT,
  blocked_at INT, locked_by TEXT, queued INT, failure TEXT, tags TEXT, PRIMARY KEY(entity, id)) WITHOUT ROWID;
CREATE INDEX by_created ON instances(entity, created, id, parent, tags);
CREATE INDEX by_status ON instances(entity, status, created, id, parent, tags);
CREATE INDEX by_name ON instances(entity, name, created, id);
CREATE INDEX children ON instances(parent, created, id) WHERE parent IS NOT NULL;
CREATE INDEX due ON instances(next_due, id) WHERE next_due IS NOT NULL;
CREATE INDEX owing ON instances(id) WHERE owes;
CREATE INDEX locked ON instances(id) WHERE locked_by IS NOT NULL;
"""
_SELECT_ROW = f"SELECT {COLUMNS} FROM instances WHERE entity = ? AND id = ?"  # noqa: S608  constants only
_SELECT_ENDED = """
SELECT created, id FROM instances AS each
WHERE entity = 0 AND status = ? AND created <= ? AND (created, id) > (?, ?) AND updated <= ?
  AND (parent IS NULL OR NOT EXISTS (
    SELECT 1 FROM instances AS above WHERE above.entity = 0 AND above.id = each.parent
      AND (length(above.execution), above.execution) <= (length(each.execution), each.execution)))
ORDER BY created, id LIMIT ?
"""
"""Executions are numbers of commits, in hex: one that begins later has the greater number."""
_SELECT_NAMES = """
WITH RECURSIVE names(name) AS (
  SELECT min(name) FROM instances WHERE entity = ?
  UNION ALL
  SELECT (SELECT min(name) FROM instances WHERE entity = ? AND name > names.name) FROM names WHERE name IS NOT NULL
) SELECT name FROM names WHERE name IS NOT NULL
"""
_UPDATED_COLUMNS = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS.split(", ")[1:])
_ROWS_PER_STATEMENT = (40, 10, 1)
"""Many rows in one statement: each execution gives up the interpreter, and waits until the engine's thread does. SQLite
before 3.32 accepts at most 999 values."""
_ROW_VALUES = f"({', '.join('?' * (2 + COLUMNS.count(',')))})"
_UPSERTS = {
    count: f"INSERT INTO instances(entity, {COLUMNS}) VALUES {', '.join([_ROW_VALUES] * count)}"  # noqa: S608
    f" ON CONFLICT(entity, id) DO UPDATE SET {_UPDATED_COLUMNS}"
    for count in _ROWS_PER_STATEMENT
}
_DELETES = {
    count: f"DELETE FROM instances WHERE {' OR '.join(['entity = ? AND id = ?'] * count)}"  # noqa: S608
    for count in _ROWS_PER_STATEMENT
}


class IndexUnusable(Exception):
    """The index is missing, damaged, locked, in another format, or needs a rollback. It can be rebuilt from the
    histories."""


class IndexReader:
    """Queries of an index. Those between `begin_read` and `end_read` see one consistent state."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._guard = threading.RLock()

    def begin_read(self) -> int:
        """Begin a consistent read; return the last commit that the index contains."""
        with self._guard, _translate_read_errors():
            self._db.execute("BEGIN")
            return self.last_commit

    def end_read(self) -> None:
        with self._guard, _translate_read_errors():
            self._db.execute("COMMIT")

    @property
    def last_commit(self) -> int:
        with self._guard, _translate_read_errors():
            return _last_commit(self._db)

    def page(self, query: Query) -> Page:
        """Return the matching rows, in order, from the cursor on; raise UsageError for a cursor of another query."""
        return make_page(query, self.rows(query, query.limit + 1))

    def rows(self, query: Query, limit: int) -> list[InstanceSummary]:
        """Return the matching rows, with a separate limit and without making a cursor."""
        clauses, values = compile_page(query, self._matching_names(query))
        # The clauses consist of constants; every value is bound.
        if query.tags or query.roots_only:
            # Of the rows that these filters pass over, maybe nearly all, only an index is read.
            wanted = f"SELECT id FROM instances {clauses} LIMIT ?"  # noqa: S608
            sql = f"SELECT {COLUMNS} FROM instances WHERE entity = ? AND id IN ({wanted})"  # noqa: S608
            return sort_rows(query, self._fetch(sql, (query.entities, *values, limit)))
        return self._fetch(f"SELECT {COLUMNS} FROM instances {clauses} LIMIT ?", (*values, limit))  # noqa: S608

    def _fetch(self, sql: str, values: tuple[object, ...]) -> list[InstanceSummary]:
        with self._guard, _translate_read_errors():
            return [to_summary(row) for row in self._db.execute(sql, values).fetchall()]

    def count(self, query: Query) -> int:
        """Count the matching rows, regardless of the cursor."""
        clauses, values = compile_count(query, self._matching_names(query))
        with self._guard, _translate_read_errors():
            sql = f"SELECT count(*) FROM instances {clauses}"  # noqa: S608  as in rows
            return int(self._db.execute(sql, values).fetchone()[0])

    def count_by_status(self, query: Query) -> dict[str, int]:
        """Count the matching rows of each status that there is, regardless of the cursor."""
        clauses, values = compile_count(query, self._matching_names(query))
        with self._guard, _translate_read_errors():
            sql = f"SELECT status, count(*) FROM instances {clauses} GROUP BY status"  # noqa: S608  as in rows
            return dict(self._db.execute(sql, values).fetchall())

    def count_by_name(self, query: Query) -> dict[tuple[str, str], int]:
        """Count the matching rows of each name and status that there are, regardless of the cursor."""
        clauses, values = compile_count(query, self._matching_names(query))
        with self._guard, _translate_read_errors():
            # The plus signs keep sqlite from using by_name, and from looking up each row of it.
            sql = f"SELECT name, status, count(*) FROM instances {clauses} GROUP BY +name, +status"  # noqa: S608
            return {(name, status): count for name, status, count in self._db.execute(sql, values).fetchall()}

    def _matching_names(self, query: Query) -> list[str]:
        """Return the names in the table that equal the requested one except for case."""
        if query.name is None:
            return []
        wanted = query.name.casefold()
        with self._guard, _translate_read_errors():
            found = self._db.execute(_SELECT_NAMES, (query.entities, query.entities)).fetchall()
        return [name for (name,) in found if name.casefold() == wanted]

    def get(self, instance: str) -> InstanceSummary | None:
        with self._guard, _translate_read_errors():
            row = self._db.execute(_SELECT_ROW, row_key(instance)).fetchone()
        return None if row is None else to_summary(row)

    def due_times(self) -> list[tuple[int, str]]:
        """Return when something is due, in microseconds since 1970, and for which instance; the latest first."""
        with self._guard, _translate_read_errors():
            return self._db.execute(
                "SELECT next_due, id FROM instances WHERE next_due IS NOT NULL ORDER BY next_due DESC, id DESC"
            ).fetchall()

    def with_pending_work(self) -> list[str]:
        """Return the instances with pending work: activities to run, messages to send, arrivals to apply."""
        with self._guard, _translate_read_errors():
            return [row[0] for row in self._db.execute("SELECT id FROM instances WHERE owes ORDER BY id").fetchall()]

    def ended_before(self, status: str, until: int, after: tuple[int, str] | None, limit: int) -> list[tuple[int, str]]:
        """Return instances with this status whose last record is not later than `until`, in the order of creation.

        Each comes with its time of creation; times are in microseconds since 1970. `after` continues behind such a
        pair. Sub-orchestrations are left out while the execution that called them is the current one of its instance.
        """
        with self._guard, _translate_read_errors():
            values = (status, until, *(after or (-(1 << 63), "")), until, limit)
            return self._db.execute(_SELECT_ENDED, values).fetchall()

    def record_counts(self) -> dict[str, tuple[str, int]]:
        """Return the execution and the number of records of each instance that has pending work or is locked."""
        with self._guard, _translate_read_errors():
            found = self._db.execute(
                "SELECT id, execution, records FROM instances WHERE owes"
                " UNION SELECT id, execution, records FROM instances WHERE locked_by IS NOT NULL"
            )
            return {id: (str(execution), int(records)) for id, execution, records in found.fetchall()}

    def locked_entities(self) -> list[str]:
        """Return the entities whose lock is held."""
        with self._guard, _translate_read_errors():
            found = self._db.execute("SELECT id FROM instances WHERE locked_by IS NOT NULL ORDER BY id")
            return [row[0] for row in found.fetchall()]

    def close(self) -> None:
        with self._guard:
            self._db.close()


class Index(IndexReader):
    """The writable index, for the one engine, whose threads may share it. An unusable one is emptied (`last_commit`
    0)."""

    def __init__(self, path: str = MEMORY) -> None:
        self._path = path
        self._has_boot_mark = False
        self._is_folder_synced = False
        try:
            super().__init__(self._open())
        except IndexUnusable:
            with _translate_write_errors(path):
                self._remove_files()
                super().__init__(self._open())

    def _open(self) -> sqlite3.Connection:
        with _translate_read_errors():
            db = sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            try:
                # DELETE leaves no file behind that would hinder a reader without write access.
                db.execute("PRAGMA journal_mode = DELETE")
                db.execute("PRAGMA synchronous = OFF")
                db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                if self._path != MEMORY:
                    os.chmod(self._path, 0o600)
                if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                    db.executescript(f"BEGIN; PRAGMA user_version = {_boot_mark()}; {_SCHEMA}")
                    db.executemany("INSERT INTO meta VALUES(?, ?)", [("format", FORMAT), ("last_commit", 0)])
                    db.execute("COMMIT")
                if self._path != MEMORY:
                    _check_content(db, os.path.getsize(self._path))
                check_index_format(db)
                self._has_boot_mark = _user_version(db) != 0
            except BaseException:
                db.close()
                raise
            return db

    def update(self, rows: Iterable[InstanceSummary], removed: Iterable[str], last_commit: int) -> None:
        """Update rows, remove instances and record the last commit, atomically but not yet durably.

        Raises StorageError, and IndexUnusable if the index is damaged.
        """
        changed, gone = list(rows), list(removed)
        with self._guard, _translate_write_errors(self._path):
            if changed or gone or last_commit != self.last_commit:
                wait_for_handle(lambda: self._update(changed, gone, last_commit))

    def _update(self, rows: list[InstanceSummary], removed: list[str], last_commit: int) -> None:
        if not self._has_boot_mark:
            self._set_boot_mark(_boot_mark())
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._execute_in_groups(_DELETES, list(map(row_key, removed)))
            self._execute_in_groups(_UPSERTS, list(map(to_row, rows)))
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'last_commit'", (last_commit,))
            self._db.execute("INSERT OR REPLACE INTO meta VALUES('last_commit_crc', ?)", (_crc(last_commit),))
            self._execute_when_free("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _execute_in_groups(self, statements: dict[int, str], rows: Sequence[tuple[object, ...]]) -> None:
        begin = 0
        for count, statement in statements.items():
            while begin + count <= len(rows):
                self._db.execute(statement, [*itertools.chain.from_iterable(rows[begin : begin + count])])
                begin += count

    def make_durable(self) -> None:
        """Return when everything applied is on disk and remains valid after a power cut.

        Raises StorageError, and IndexUnusable if the index is damaged.
        """
        if self._path == MEMORY or not self._has_boot_mark:
            return
        with self._guard, _translate_write_errors(self._path):
            # Only then reset the mark, in a transaction of its own that always syncs.
            _sync_path(self._path, os.O_RDONLY)
            if not self._is_folder_synced:
                _sync_path(os.path.dirname(self._path) or ".", os.O_RDONLY | os.O_DIRECTORY)
                self._is_folder_synced = True
            wait_for_handle(lambda: self._set_boot_mark(0))

    def clear(self) -> None:
        """Replace the index with an empty one, whatever its state."""
        with self._guard, _translate_write_errors(self._path):
            with suppress(sqlite3.Error):
                self._db.close()
            self._remove_files()
            self._db = self._open()

    def _set_boot_mark(self, mark: int) -> None:
        if self._path == MEMORY:
            return
        # EXTRA syncs the folder too. Otherwise the journal of this transaction could reappear after a power cut, after
        # later transactions changed the file, and roll back only the mark.
        self._db.execute("PRAGMA synchronous = EXTRA")
        try:
            self._execute_when_free(f"PRAGMA user_version = {mark}")
        finally:
            self._db.execute("PRAGMA synchronous = OFF")
        self._has_boot_mark = mark != 0

    def _execute_when_free(self, statement: str) -> None:
        """Execute a statement, waiting for readers as long as necessary: a stopped reader must not stop the engine."""
        while True:
            try:
                self._db.execute(statement)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
            else:
                return

    def _remove_files(self) -> None:
        """Unlink the file, then its journal: a journal left alone would be applied to the next file."""
        self._is_folder_synced = False
        if self._path == MEMORY:
            return
        for path in (self._path, f"{self._path}-journal"):
            with suppress(FileNotFoundError):
                os.unlink(path)
                _sync_path(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)


def open_index_readonly(path: str, *, timeout: float = 1.0) -> IndexReader:
    """Open an index without changing anything, not even side files; raises IndexUnusable.

    A journal that a dead engine left is IndexUnusable too: rolling it back would write.
    """
    name = "".join(f"%{ord(each):02x}" if each in "%?#" else each for each in os.path.abspath(path))
    with _translate_read_errors():
        db = sqlite3.connect(f"file:{name}?mode=ro", uri=True, timeout=timeout, isolation_level=None)
        try:
            check_index_format(db)
        except BaseException:
            db.close()
            raise
    return IndexReader(db)


def check_index_format(db: sqlite3.Connection) -> None:
    """Raise IndexUnusable unless the file is a valid index of this format."""
    if _user_version(db) not in (0, _boot_mark()):
        raise IndexUnusable("the machine went down while the index was not yet on disk")
    found = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if found.get("format") != FORMAT or not isinstance(found.get("last_commit"), int):
        raise IndexUnusable("the index has another format")
    _last_commit(db)


def _last_commit(db: sqlite3.Connection) -> int:
    """Return the last commit in the index; its crc must match, because it determines the next numbers."""
    found = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('last_commit', 'last_commit_crc')").fetchall())
    last = int(found["last_commit"])
    if found.get("last_commit_crc", _crc(last)) != _crc(last):
        raise IndexUnusable("the index is damaged: the crc of its last commit doesn't fit")
    return last


def _crc(commit: int) -> int:
    return crc32(b"%d" % commit)


def _check_content(db: sqlite3.Connection, size: int) -> None:
    if size > _QUICK_CHECK_LIMIT:
        return
    check = "integrity_check" if size <= _FULL_CHECK_LIMIT else "quick_check"
    found = db.execute(f"PRAGMA {check}(1)").fetchone()[0]
    if found != "ok":
        raise IndexUnusable(f"the index is damaged: {found}")


def _user_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _boot_mark() -> int:
    return crc32(boot_id().encode()) & 0x7FFFFFFF or 1


def _sync_path(path: str, flags: int) -> None:
    fd = wait_for_handle(lambda: os.open(path, flags | os.O_CLOEXEC))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _translate_read_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, msgspec.MsgspecError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise IndexUnusable(str(error)) from error


@contextmanager
def _translate_write_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, IndexUnusable) as error:
        if isinstance(error, sqlite3.Error) and _is_damage(error):
            raise IndexUnusable(str(error)) from error
        raise StorageError(f"{path}: {error}; it may be deleted when no engine runs, and is rebuilt then") from error


def _is_damage(error: sqlite3.Error) -> bool:
    """Return whether the content of the file is the cause, so that a new file would help."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.OperationalError)  # a text that isn't UTF-8
    if code in (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED):
        return True
    return code & 0xFF not in _DISK_ERRORS
