"""The errors people meet: one tree, and each error knows its exit code and its HTTP status.

    DurableError                 1  500   a defect of ours, unless a subclass says better
    ├── UsageError               2  400   what was asked makes no sense: bad JSON, bad id, bad duration
    │   ├── BadName              2  400   a name or a version that can't be kept as it is
    │   ├── Unserializable       2  400   a value that JSON can't hold, with its path
    │   └── Mismatch             2  400   a payload that doesn't fit its annotation, with its path
    ├── NotFound                 3  404   no such instance, function or file
    ├── Conflict                 4  409   the id is taken
    ├── WrongState               5  410   the instance has ended, or is not in the state the verb needs
    ├── TimedOut                 8  504   the wait was longer than allowed
    ├── DamagedHub              65  500   the files on disk contradict each other
    │   └── InstanceSetAside     65  409   one instance or entity can't be used; the rest of the hub can
    ├── DamagedMessage          65  500   a message in the inbox can't be read whole
    ├── NewerHub                65  500   the hub was written by a later version
    ├── StorageError            74  500   the disk refused a write or a sync
    ├── BindingUnavailable       1  501   a function needs an input that only Azure provides
    ├── HubLocked               75  503   another engine runs this hub
    ├── NoPermission            77  403   the state directory isn't ours to use
    └── ConfigError             78  500   durable.yaml, or the modules it names
    TaskFailedError                       raised into an orchestrator: a task it awaited has failed

`TaskFailedError` stands apart: it belongs to the author's orchestrator, not to whoever typed a command.
"""

from __future__ import annotations

import builtins
from typing import Protocol


class DurableError(Exception):
    """The root. Its text is one line that tells the user what to do next."""

    exit_code = 1
    http_status = 500


class UsageError(DurableError):
    """What was asked makes no sense as it stands."""

    exit_code = 2
    http_status = 400


class BadName(UsageError, ValueError):
    """A name or a version that can't be kept as it is: no string, empty, too long, or no valid Unicode."""


class Unserializable(UsageError, TypeError):
    """A value that JSON can't hold; `path` says where in it, as `$.a[3].b`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Mismatch(UsageError, ValueError):
    """A payload that doesn't fit the annotation it is decoded by; `path` says where, as `$.a[3].b`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NotFound(DurableError):
    """No such instance, function or file."""

    exit_code = 3
    http_status = 404


class Conflict(DurableError):
    """The id is taken, or is being worked on by somebody else."""

    exit_code = 4
    http_status = 409


class WrongState(DurableError):
    """The instance has ended, or isn't in the state that the verb needs."""

    exit_code = 5
    http_status = 410


class TimedOut(DurableError):
    """The wait was longer than allowed. The instance goes on."""

    exit_code = 8
    http_status = 504


class DamagedHub(DurableError):
    """The files on disk contradict each other where no crash explains it."""

    exit_code = 65


class InstanceSetAside(DamagedHub):
    """One instance, or entity, can't be used: its history is damaged, or it failed unexpectedly. The hub goes on."""

    http_status = 409


class DamagedMessage(DurableError):
    """A message in the inbox can't be read whole. Only that message is concerned; the engine sets it aside."""

    exit_code = 65


class NewerHub(DurableError):
    """The hub was written by a later version of durablecli."""

    exit_code = 65


class StorageError(DurableError):
    """The disk refused a write or a sync. The engine stops; a restart reads the truth from disk."""

    exit_code = 74


class BindingUnavailable(DurableError):
    """A function has an input binding whose value only a service of Azure provides."""

    http_status = 501


class HubLocked(DurableError):
    """Another engine runs this hub."""

    exit_code = 75
    http_status = 503


class NoPermission(DurableError):
    """The state directory isn't ours to read or to write."""

    exit_code = 77
    http_status = 403


class ConfigError(DurableError):
    """durable.yaml is wrong, or none of the modules that it names can be loaded."""

    exit_code = 78


class RecordedFailure(Protocol):
    """A failure as it is recorded: `durablecli.model.failures.Failure`."""

    @property
    def type(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def traceback(self) -> str: ...
    @property
    def cause(self) -> RecordedFailure | None: ...
    def is_caused_by(self, kind: builtins.type[BaseException] | str) -> bool: ...


class TaskFailedError(Exception):
    """Raised at the `yield` (or `await`) of a task that failed.

    `failure` holds what was recorded: type, message, traceback and cause. Where the recorded type is a built-in
    exception, or a class that the orchestrator's module knows by name, the raised object is of that type too, so
    `except ValueError` works.
    """

    def __init__(self, message: str, failure: RecordedFailure | None = None) -> None:
        super().__init__(message)
        self.failure = failure
