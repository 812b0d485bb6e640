"""The tree of errors. Each has an exit code and an HTTP status.

    DurableError                 1  500   an internal error, unless a subclass is more precise
    ├── UsageError               2  400   invalid usage: bad JSON, bad id, bad duration
    │   ├── BadName              2  400   an invalid name or version
    │   ├── Unserializable       2  400   a value that JSON can't hold, with its path
    │   ├── Mismatch             2  400   a payload that doesn't match its annotation, with its path
    │   │   └── InvalidCommandInput  2  400   the input of a df.shell lacks a field
    │   └── InvalidInput         2  400   an input that the orchestrator can't take, with the path of each problem
    ├── NotFound                 3  404   no such instance, function or file
    ├── Conflict                 4  409   the id exists
    ├── WrongState               5  410   the instance has ended, or is in the wrong state for the command
    ├── OrchestrationFailed      6  409   the instance has failed, so it has no output
    ├── OrchestrationTerminated  7  409   the instance was terminated, so it has no output
    ├── TimedOut                 8  504   the wait took longer than its timeout
    ├── DamagedHub              65  500   the files on disk contradict each other
    │   └── InstanceSetAside     65  409   one instance or entity can't be used; the others can
    ├── DamagedMessage          65  500   a message in the inbox can't be read completely
    ├── NewerHub                65  500   the hub was written by a later version
    ├── EngineUnavailable       69  503   another engine can't be reached
    ├── StorageError            74  500   the disk refused a write or a sync
    ├── BindingUnavailable       1  501   a function needs an input that only Azure provides
    ├── HubLocked               75  503   another engine is running on this hub
    ├── NoPermission            77  403   no access to the state directory
    └── ConfigError             78  500   invalid durable.yaml, or modules that can't be loaded
    TaskFailedError                       raised in an orchestrator whose task has failed
    ├── ActivityTimedOut                  an attempt of an activity took longer than its time-out
    └── TaskCanceledError                 the orchestrator has cancelled the task
    ShellError                            raised by an activity of df.shell whose command has failed
    RetryAfter                            raised by an activity that wants its next attempt after a delay

The last group isn't part of the tree: it is for the code of authors, not for users of a command.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from math import inf
from typing import Protocol


class DurableError(Exception):
    """The root. Its text says what happened, and what to do."""

    exit_code = 1
    http_status = 500


class UsageError(DurableError):
    """Invalid usage."""

    exit_code = 2
    http_status = 400


class BadName(UsageError, ValueError):
    """An invalid name or version: not a string, empty, too long, or not valid Unicode."""


class Unserializable(UsageError, TypeError):
    """A value that JSON can't hold. `path` is the place in it, such as `$.a[3].b`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Mismatch(UsageError, ValueError):
    """A payload that doesn't match its annotation. `path` is the place in it, such as `$.a[3].b`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class InvalidInput(UsageError, ValueError):
    """An input that doesn't fit the declared type. `problems` are paths, such as `$.city`, with reasons."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {reason}" for path, reason in problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[Sequence[tuple[str, str]]]]:
        return type(self), (self.problems,)


class InvalidCommandInput(Mismatch):
    """The input of an activity of `df.shell` lacks a field that the command needs. It isn't retried."""


class NotFound(DurableError):
    """No such instance, function or file."""

    exit_code = 3
    http_status = 404


class Conflict(DurableError):
    """The id exists, or another process is working on it."""

    exit_code = 4
    http_status = 409


class WrongState(DurableError):
    """The instance has ended, or is in the wrong state for the command."""

    exit_code = 5
    http_status = 410


class TimedOut(DurableError):
    """The wait took longer than its timeout. The instance continues."""

    exit_code = 8
    http_status = 504


class OrchestrationFailed(DurableError):
    """The output of an instance was wanted, but the instance has failed. `failure` says how, and where."""

    exit_code = 6
    http_status = 409

    def __init__(self, text: str, failure: object = None) -> None:
        super().__init__(text)
        self.failure = failure


class OrchestrationTerminated(DurableError):
    """The output of an instance was wanted, but the instance was terminated."""

    exit_code = 7
    http_status = 409


class DamagedHub(DurableError):
    """The files on disk contradict each other in a way that no crash explains."""

    exit_code = 65


class InstanceSetAside(DamagedHub):
    """One instance, or entity, can't be used: its history is damaged, or it failed unexpectedly."""

    http_status = 409


class DamagedMessage(DurableError):
    """A message in the inbox can't be read completely. The engine quarantines that message alone."""

    exit_code = 65


class NewerHub(DurableError):
    """The hub was written by a later version of durablecli."""

    exit_code = 65


class EngineUnavailable(DurableError):
    """Another engine can't be reached, or doesn't answer."""

    exit_code = 69
    http_status = 503


class StorageError(DurableError):
    """The disk refused a write or a sync. The engine stops; a restart reads the state from disk."""

    exit_code = 74


class BindingUnavailable(DurableError):
    """A function has an input binding that only Azure provides."""

    http_status = 501


class HubLocked(DurableError):
    """Another engine is running on this hub."""

    exit_code = 75
    http_status = 503


class NoPermission(DurableError):
    """The state directory can't be read or written by this user."""

    exit_code = 77
    http_status = 403


class ConfigError(DurableError):
    """durable.yaml is invalid, or none of the modules that it names can be loaded."""

    exit_code = 78


class RecordedFailure(Protocol):
    """A failure as it is recorded in a history."""

    @property
    def type(self) -> str:
        """The qualified name of the exception's class, such as `builtins.ValueError`."""
        ...

    @property
    def message(self) -> str:
        """The text of the exception."""
        ...

    @property
    def traceback(self) -> str:
        """The traceback as text; empty if there is none."""
        ...

    @property
    def cause(self) -> RecordedFailure | None:
        """The failure of the exception's cause."""
        ...

    def is_caused_by(self, kind: builtins.type[BaseException] | str) -> bool:
        """Whether the exception is a `kind`: a class, its qualified name, or its bare name."""
        ...


class ShellError(Exception):
    """Raised by an activity of `df.shell` whose command has failed.

    `code` is its exit code, negative if a signal has ended it. `lines` are the last ones that it printed.
    """

    def __init__(self, message: str, code: int = 1, lines: list[str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.lines = lines or []


class TaskFailedError(Exception):
    """Raised at the `yield` (or `await`) of a task that failed.

    `failure` holds what was recorded: type, message, traceback and cause. Where the recorded type is a built-in
    exception, or a class that the orchestrator's module knows by name, the raised object is of that type too, so
    `except ValueError` works.
    """

    def __init__(self, message: str, failure: RecordedFailure | None = None) -> None:
        super().__init__(message)
        self.failure = failure


class ActivityTimedOut(TaskFailedError, TimeoutError):
    """Raised in an orchestrator whose activity took longer than its `timeout`, or didn't call `heartbeat` in time."""


class TaskCanceledError(TaskFailedError):
    """Raised at the `yield` (or `await`) of a task that the orchestrator has cancelled."""


class RetryAfter(Exception):
    """Raised by an activity: this attempt has failed, and the next one is to begin after a delay.

    The delay replaces that of the retry policy of the call, whose limits still hold. Without a policy the call fails.
    Raises ValueError for a delay that isn't a number of at least 0.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        if not isinstance(seconds, int | float) or not 0 <= seconds < inf:
            raise ValueError(f"RetryAfter takes a number of seconds of at least 0, not {seconds!r}")
        super().__init__(message or f"try again in {seconds:g} s")
        self.seconds = float(seconds)
