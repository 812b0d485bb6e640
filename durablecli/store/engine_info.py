"""engine.json: information that only a running engine has, for other processes; advisory and dated."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.layout import ENGINE_INFO_FILE


class FunctionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function loaded by an engine. `operations` are those of a class entity; None if they are unknown."""

    name: str
    kind: str
    place: str = ""
    signature: str = ""
    operations: tuple[str, ...] | None = None


class ReportedWorkItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An activity, or a batch of entity operations, that is running or queued. `cancelled`: asked to stop."""

    instance: str
    execution: str
    id: int
    since: datetime
    name: str = ""
    attempt: int = 0
    executor: str = ""
    cancelled: bool = False


class EngineInfo(msgspec.Struct, frozen=True):
    """The content of engine.json. `limits` are the capacities of the executors."""

    at: datetime | None = None
    pid: int = 0
    functions: tuple[FunctionInfo, ...] | None = None
    running: tuple[ReportedWorkItem, ...] = ()
    queued: tuple[ReportedWorkItem, ...] = ()
    limits: dict[str, int] = {}


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
