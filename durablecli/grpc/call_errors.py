"""Errors of calls: the status code and the one line that a client gets."""

from __future__ import annotations

import grpc

from durablecli.errors import (
    Conflict,
    DamagedHub,
    DurableError,
    HubLocked,
    InstanceSetAside,
    NotFound,
    StorageError,
    TimedOut,
    UsageError,
    WrongState,
)

_CODES: tuple[tuple[type[DurableError], grpc.StatusCode], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.ALREADY_EXISTS),
    (WrongState, grpc.StatusCode.FAILED_PRECONDITION),
    (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
    (InstanceSetAside, grpc.StatusCode.FAILED_PRECONDITION),
    (HubLocked, grpc.StatusCode.UNAVAILABLE),
)
_OPAQUE: tuple[tuple[type[DurableError], grpc.StatusCode, str], ...] = (
    (StorageError, grpc.StatusCode.UNAVAILABLE, "the disk of the hub refused a write; see the log of the daemon"),
    (DamagedHub, grpc.StatusCode.DATA_LOSS, "the hub is damaged; see the log of the daemon"),
)
_INTERNAL_ERROR = "internal error; see the log of the daemon"


class CallError(Exception):
    """Ends a call with a status code and a message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def to_call_error(error: Exception) -> CallError | None:
    """Return the error that a client receives; None for an unexpected one, which only the log describes.

    The messages of some errors name files of this machine, and stay here.
    """
    if isinstance(error, CallError):
        return error
    for kind, code in _CODES:
        if isinstance(error, kind):
            return CallError(code, " ".join(str(error).split()))
    for kind, code, message in _OPAQUE:
        if isinstance(error, kind):
            return CallError(code, message)
    return None


def internal_error() -> CallError:
    """Return the error that a client gets for an unexpected one."""
    return CallError(grpc.StatusCode.INTERNAL, _INTERNAL_ERROR)


def stopping_error() -> CallError:
    """Return the error of a call while the server shuts down."""
    return CallError(grpc.StatusCode.UNAVAILABLE, "the server is shutting down; retry later")


def instance_not_found(instance: str) -> NotFound:
    """Return the error for an id that no instance has."""
    return NotFound(f"orchestration instance {instance!r} not found")
