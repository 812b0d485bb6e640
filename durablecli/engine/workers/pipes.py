"""Sends lines over a pipe between the engine and a worker process; each side notices when the other has died."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress

_CHECK_INTERVAL = 500
"""Milliseconds. A child of the other side may hold the pipe open, so an open pipe doesn't prove that it lives."""
_CHUNK_SIZE = 1 << 20


class LineReader:
    """Reads whole lines from a descriptor. While none arrives, `is_alive` is called to check the other side."""

    def __init__(self, fd: int, is_alive: Callable[[], bool]) -> None:
        self._fd = fd
        self._is_alive = is_alive
        self._remainder = b""
        self._poll = select.poll()  # select() refuses descriptors above 1023
        self._poll.register(fd, select.POLLIN)

    def read(self) -> bytes | None:
        """Return the next line without its end; None when the other side has closed the pipe or died."""
        pieces = [self._remainder]
        while b"\n" not in pieces[-1]:
            if not self._poll.poll(_CHECK_INTERVAL):
                if self._is_alive():
                    continue
                return None
            piece = os.read(self._fd, _CHUNK_SIZE)
            if not piece:
                return None
            pieces.append(piece)
        line, _, self._remainder = b"".join(pieces).partition(b"\n")
        return line


def write_line(fd: int, line: bytes) -> None:
    """Write one line of any length; raises OSError when the other side has closed the pipe."""
    data = memoryview(line + b"\n")
    while data:
        data = data[os.write(fd, data) :]


def close_quietly(*fds: int) -> None:
    """Close descriptors, also if they are closed already."""
    for fd in fds:
        with suppress(OSError):
            os.close(fd)
