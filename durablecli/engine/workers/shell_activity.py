"""Activities that are commands: `encode = df.shell("ffmpeg -i {src} {dst}")`.

A command leads a process group, which ends with it when it is to stop. What it prints is printed by the activity, line
by line, and so reaches the log of the instance while it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from time import monotonic
from typing import IO, Any

from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.engine.workers.shell_template import ShellTemplate
from durablecli.errors import ShellError
from durablecli.model.activity_options import make_activity_options
from durablecli.model.retries import RetryPolicy
from durablecli.model.time_spans import Duration
from durablecli.model.validation import check_name
from durablecli.replay.function_marks import FunctionMark

TERMINATE_TIMEOUT = 3.0
"""Seconds between SIGTERM and SIGKILL."""
MAX_RESULT_LENGTH = 256 * 1024
"""The characters of the output that are the result: the last ones."""
_MAX_LAST_LINES = 20
_MAX_LINE_BYTES = 64 * 1024
_POLL_INTERVAL = 0.05
_OUTPUT_TIMEOUT = 2.0
"""Seconds without output after which the rest isn't awaited: a process in the background may hold the pipes open."""


def shell(
    command: str,
    *,
    name: str | None = None,
    shell: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    executor: str | None = None,
    timeout: Duration | None = None,
    retry: RetryPolicy | None = None,
    max_concurrency: int | None = None,
    rate: str | None = None,
    key: Callable[[Any], object] | None = None,
) -> ShellActivity:
    """Make an activity of a command: `encode = df.shell("ffmpeg -i {src} {dst}")`.

    It is named after the variable of the module, or `name`. A placeholder receives a field of the input, `{}` the input
    itself; a list in a word of its own becomes several words. Values are always passed as they are, also with
    `shell=True`, which has `/bin/sh` run the command, for pipes and redirections.

    The result is what the command prints to stdout, without the last line feed; at most the last 256 KiB. If its exit
    code isn't 0, the activity fails with `df.ShellError`. `env` are variables to add. The other options are those of
    `@df.activity`. Raises ValueError if the command is invalid.
    """
    frame = sys._getframe(1)
    if name is None and frame.f_code.co_name != "<module>":
        raise ValueError("df.shell in a function needs a name: df.shell(…, name=…)")
    if executor not in (None, "thread", "process"):
        raise ValueError(f"executor must be 'thread' or 'process', not {executor!r}")
    options = make_activity_options(max_concurrency, rate, key, timeout, None, retry)
    made = ShellActivity(ShellTemplate(command, shell=shell), name, cwd, env or {})
    made.make_mark = lambda own_name: FunctionMark("activity", own_name, executor, options)
    made.set_place(frame.f_globals, frame.f_code.replace(co_firstlineno=frame.f_lineno))
    return made


class ShellActivity:
    """A command as an activity."""

    make_mark: Callable[[str], FunctionMark]

    def __init__(
        self, template: ShellTemplate, name: str | None, cwd: str | os.PathLike[str] | None, env: Mapping[str, str]
    ) -> None:
        self._template = template
        self._name = None if name is None else check_name(name, "an activity")
        self._cwd = cwd
        self._env = dict(env)
        self._globals: Mapping[str, Any] = {}

    def set_place(self, names: Mapping[str, Any], code: Any) -> None:
        """Note the module that creates it, and the line."""
        self._globals = names
        self.__module__ = names.get("__name__", __name__)
        self.__code__ = code

    @property
    def __name__(self) -> str:
        """The name of the activity; raises ValueError if no variable of its module has it."""
        if self._name is None:
            found = next((name for name, value in list(self._globals.items()) if value is self), None)
            if found is None:
                raise ValueError(f"df.shell({self._template.text!r}) isn't a variable of its module: give it a name=")
            self._name = found
        return self._name

    @property
    def __durable__(self) -> FunctionMark:
        return self.make_mark(self.__name__)

    def __repr__(self) -> str:
        return f"df.shell({self._template.text!r})"

    def __call__(self, input: Any, context: ActivityContext) -> str:
        """Run the command. Raises ShellError, and InvalidCommandInput if the input lacks a field."""
        return _RunningCommand(self._template.fill(input), self._cwd, self._env).wait(context)


class _RunningCommand:
    """A command that runs, and the threads that read its output."""

    def __init__(self, words: list[str], cwd: str | os.PathLike[str] | None, env: Mapping[str, str]) -> None:
        self._words = words
        self._output: deque[str] = deque()
        self._length = 0
        self._last_read = monotonic()
        self._last_lines: deque[str] = deque(maxlen=_MAX_LAST_LINES)
        # In the main thread, as in a worker process, it belongs to the group of this process and ends with it.
        self._has_group = threading.current_thread() is not threading.main_thread()
        try:
            self._process = subprocess.Popen(
                words,
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0 if self._has_group else None,
            )
        except FileNotFoundError as error:
            if error.filename != words[0]:
                raise
            raise ShellError(f"there is no command {words[0]!r}", 127) from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=copy_context().run, args=(read, pipe), name="durable-shell", daemon=True)
            for read, pipe in ((self._read_stdout, self._process.stdout), (self._read_stderr, self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def wait(self, context: ActivityContext) -> str:
        """Return what it has printed once it has ended; end it if it is to stop."""
        try:
            while self._process.poll() is None:
                if context.cancelled:
                    self._terminate()
                    raise ShellError(f"{self._words[0]} was ended, because the activity was cancelled", -signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_POLL_INTERVAL)
        except BaseException:
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise
        self._last_read = monotonic()
        for reader in self._readers:
            while reader.is_alive() and monotonic() - self._last_read < _OUTPUT_TIMEOUT:
                reader.join(_POLL_INTERVAL)
        if self._process.returncode:
            raise self._make_error(self._process.returncode)
        text = "".join(self._output)
        if len(text) > MAX_RESULT_LENGTH:
            text = text[-MAX_RESULT_LENGTH:].partition("\n")[2] or text[-MAX_RESULT_LENGTH:]
        return text.removesuffix("\n")

    def _terminate(self) -> None:
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(TERMINATE_TIMEOUT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if self._has_group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def _make_error(self, code: int) -> ShellError:
        what = f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        lines = list(self._last_lines)
        last = f": {lines[-1].strip()}" if lines else ""  # lists and hooks show the first line of the message
        shown = "".join(f"\n  {line}" for line in lines) if len(lines) > 1 else ""
        return ShellError(f"{self._words[0]} {what}{last}{shown}", code, lines)

    def _read_stdout(self, pipe: IO[bytes]) -> None:
        for text in _iter_lines(pipe):
            self._output.append(text)
            self._length += len(text)
            while len(self._output) > 1 and self._length - len(self._output[0]) > MAX_RESULT_LENGTH:
                self._length -= len(self._output.popleft())
            self._show(text, sys.stdout)

    def _read_stderr(self, pipe: IO[bytes]) -> None:
        for text in _iter_lines(pipe):
            self._show(text, sys.stderr)

    def _show(self, text: str, stream: Any) -> None:
        self._last_read = monotonic()
        self._last_lines.append(text.rstrip("\r\n"))
        with suppress(OSError, ValueError):  # the stream of the engine may be closed
            stream.write(text if text.endswith("\n") else f"{text}\n")


def _iter_lines(pipe: IO[bytes]) -> Any:
    with pipe:
        while line := pipe.readline(_MAX_LINE_BYTES):
            yield line.decode(errors="replace")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
