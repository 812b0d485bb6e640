"""engine.json: information that only a running engine has, for other processes; advisory and dated."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import msgspec
from msgspec import Raw

from durablecli.model.reported_heartbeat import ReportedHeartbeat
from durablecli.model.reported_progress import ReportedProgress
from durablecli.store.disk import Disk
from durablecli.store.layout import ENGINE_INFO_FILE


class FunctionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function loaded by an engine. `operations` are those of a class entity; None if they are unknown.

    `input_schema` is the JSON schema of the input that an orchestrator declares; unset if it declares none, or a very
    large one.
    """

    name: str
    kind: str
    place: str = ""
    signature: str = ""
    operations: tuple[str, ...] | None = None
    input_schema: Raw | msgspec.UnsetType = msgspec.UNSET


class ReportedWorkItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An activity, or a batch of entity operations, that is running or queued. `cancelled`: asked to stop. `progress`
    is what it has reported last, and `heartbeat` its last sign of life. Of a queued one `ahead` counts those before it
    in its queue, and `key` is that of the limit of its function for which it waits, None if it waits for a worker."""

    instance: str
    execution: str
    id: int
    since: datetime
    name: str = ""
    attempt: int = 0
    executor: str = ""
    cancelled: bool = False
    progress: ReportedProgress | None = None
    heartbeat: ReportedHeartbeat | None = None
    ahead: int = 0
    key: str | None = None


class LimitedFunction(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function, and a key, with calls that wait for its limit. If that is the `rate`, such as `5 per 1 s`, the next
    one may begin at `next_at`; otherwise it is `max_concurrency`."""

    name: str
    key: str = ""
    running: int = 0
    queued: int = 0
    max_concurrency: int | None = None
    rate: str | None = None
    next_at: datetime | None = None


class InstanceProgress(msgspec.Struct, frozen=True):
    """What an orchestrator has reported last."""

    instance: str
    execution: str
    progress: ReportedProgress


class RemoteWorkItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Work that a worker has in flight: a `turn`, an `activity` or an `entity` batch.

    `id` is the `n` of an activity's decision, or of the last operation of a batch.
    """

    kind: str
    instance: str
    execution: str
    since: datetime
    id: int = 0


class WorkerInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A connected worker. It runs functions of these names, each of these versions, or of any version if there are
    none; None is any name. The names of entities are in lower case."""

    label: str
    since: datetime
    orchestrators: dict[str, tuple[str, ...]] | None = None
    activities: dict[str, tuple[str, ...]] | None = None
    entities: dict[str, tuple[str, ...]] | None = None
    work: tuple[RemoteWorkItem, ...] = ()


class CodeInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """When the code that runs was loaded. `changed` are the paths of its files that have changed since; `error`
    is a line for people on what can't be loaded of the files as they are now, where the engine tries that by itself."""

    loaded_at: datetime
    changed: tuple[str, ...] = ()
    error: str = ""


class EngineInfo(msgspec.Struct, frozen=True):
    """The content of engine.json. `limits` are the capacities of the executors, `warnings` the lines on what the app
    could not load. `workers` are the connected ones; unset if the engine serves no remote code. `code` is unset if the
    engine hasn't loaded its functions from files."""

    at: datetime | None = None
    pid: int = 0
    functions: tuple[FunctionInfo, ...] | None = None
    running: tuple[ReportedWorkItem, ...] = ()
    queued: tuple[ReportedWorkItem, ...] = ()
    limits: dict[str, int] = {}
    warnings: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    progress: tuple[InstanceProgress, ...] | msgspec.UnsetType = msgspec.UNSET
    workers: tuple[WorkerInfo, ...] | msgspec.UnsetType = msgspec.UNSET
    limited: tuple[LimitedFunction, ...] | msgspec.UnsetType = msgspec.UNSET
    code: CodeInfo | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(EngineInfo).decode


def read_engine_info(disk: Disk, root: str) -> EngineInfo | None:
    """Read the file; None if it is missing or can't be read."""
    try:
        return _decode(disk.read(f"{root}/{ENGINE_INFO_FILE}"))
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_engine_info(disk: Disk, root: str, info: EngineInfo) -> None:
    """Replace the file without syncing; errors of the disk are ignored, because the engine works without it."""
    path = f"{root}/{ENGINE_INFO_FILE}"
    with suppress(OSError):
        with suppress(FileNotFoundError):
            disk.unlink(f"{path}.tmp")
        disk.create(f"{path}.tmp", msgspec.json.encode(info), sync=False)
        disk.rename(f"{path}.tmp", path)
