"""limits.jsonl: when calls of activities with a rate were admitted and have begun, so that a restart forgets none.

The first line identifies the boot of the machine and relates its monotonic clock to the time. Calls are noted before
they begin, without a sync: a kill loses none, and after a power failure the last ones may be missing. A call that was
admitted, and of which the file doesn't say when it has begun, counts as one that has begun when the file is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from durablecli.errors import StorageError
from durablecli.store.disk import Appender, Disk
from durablecli.store.layout import RATE_FILE
from durablecli.store.process_identity import boot_id

RateKey = tuple[str, str]
"""The name of an activity, and the key of the call; empty without one."""
Starts = dict[RateKey, list[tuple[float, int]]]
"""When calls have begun, by the monotonic clock, with their numbers; the earliest first."""
_MIN_GROWTH = 256 * 1024


class _Line(msgspec.Struct, omit_defaults=True):
    boot: str = ""
    monotonic: float = 0.0
    at: datetime | None = None
    starts: list[tuple[str, str, float, int]] = []
    admitted: list[tuple[int, str, str]] = []
    begun: list[tuple[int, float]] = []


_decoder = msgspec.json.Decoder(_Line)
_encoder = msgspec.json.Encoder()


class RateFile:
    """The file of one hub, used by its engine alone. It is created with the first call that it has to note."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._path = f"{root}/{RATE_FILE}"
        self._appender: Appender | None = None
        self._size = 0
        self._rewritten_size = 0

    def read(self, now: float) -> Starts:
        """Return what the file says, in times of the monotonic clock, which is at `now`.

        After a reboot the time between is that of the wall clock; if that was set back, nothing has passed.
        """
        try:
            lines = self._disk.read(self._path).splitlines()
        except FileNotFoundError:
            return {}
        shift = 0.0
        admitted: dict[int, RateKey] = {}
        found: Starts = {}
        for line in lines:
            try:
                entry = _decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):  # torn by a power failure
                continue
            if entry.at is not None:
                shift = _find_shift(entry, entry.at, now)
            for name, key, at, count in entry.starts:
                found.setdefault((name, key), []).append((min(at + shift, now), count))
            for id, name, key in entry.admitted:
                admitted[id] = name, key
            for id, at in entry.begun:
                if (of := admitted.pop(id, None)) is not None:
                    found.setdefault(of, []).append((min(at + shift, now), 1))
        for of in admitted.values():
            found.setdefault(of, []).append((now, 1))
        for starts in found.values():
            starts.sort()
        return found

    def append(self, admitted: Iterable[tuple[int, str, str]], begun: Iterable[tuple[int, float]]) -> None:
        """Note calls that are about to begin, each with a number of its own, and when earlier ones have begun."""
        assert self._appender is not None, "rewrite makes the file"
        self._append(_Line(admitted=[*admitted], begun=[*begun]))

    def _append(self, line: _Line) -> None:
        assert self._appender is not None
        data = _encoder.encode(line) + b"\n"
        try:
            self._appender.append(data)
        except OSError as error:
            raise StorageError(f"{self._path}: {error}") from error
        self._size += len(data)

    @property
    def is_rewrite_due(self) -> bool:
        """Whether the file must be written before the first `append`, or has grown much."""
        return self._appender is None or self._size > 4 * self._rewritten_size + _MIN_GROWTH

    def rewrite(self, starts: Mapping[RateKey, Iterable[tuple[float, int]]], now: float) -> None:
        """Replace the file by one that holds just this. Calls that haven't begun yet must be noted again."""
        entries = [(*of, at, count) for of, times in starts.items() for at, count in times]
        line = _Line(boot_id(), now, datetime.now(UTC), entries)
        temporary = f"{self._path}.tmp"
        try:
            with suppress(FileNotFoundError):
                self._disk.unlink(temporary)
            data = _encoder.encode(line) + b"\n"
            self._disk.create(temporary, data, sync=False)
            self._disk.rename(temporary, self._path)
            self.close()
            self._appender = self._disk.appender(self._path, create=False)
        except OSError as error:
            raise StorageError(f"{self._path}: {error}") from error
        self._size = self._rewritten_size = len(data)

    def close(self) -> None:
        """Close the file."""
        if self._appender is not None:
            self._appender.close()
            self._appender = None


def _find_shift(header: _Line, at: datetime, now: float) -> float:
    """Return what turns times of the monotonic clock in the file into those of the present one."""
    if header.boot and header.boot == boot_id() and header.monotonic <= now:
        return 0.0
    passed = max(0.0, (datetime.now(UTC) - at).total_seconds())
    return now - passed - header.monotonic
