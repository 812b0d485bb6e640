"""hub.json: the identity of a hub, and the engine that runs it."""

from __future__ import annotations

import os
from datetime import datetime

import msgspec

from durablecli.errors import DamagedHub, NewerHub
from durablecli.store.disk import Disk
from durablecli.store.layout import HUB_FILE
from durablecli.store.process_identity import is_process_alive, start_token

FORMAT = 2
"""2 since hubs hold entities, which an earlier version would report as damage."""
SPILLED_FORMAT = 3
"""The format of a hub from its first spilled record on: an earlier version can't read the stubs of those."""


class EngineProcess(msgspec.Struct, frozen=True):
    """The process that runs a hub. `started` distinguishes it from a later process with the same pid."""

    pid: int
    started: str
    since: datetime

    @property
    def is_alive(self) -> bool:
        """Whether this same process is still running."""
        return is_process_alive(self.pid, self.started)


class HubFile(msgspec.Struct, omit_defaults=False):
    """The content of hub.json. `epoch` counts the engine's starts; `engine` runs the hub, or ran it until it died."""

    format: int
    hub: str
    name: str
    epoch: int = 0
    engine: EngineProcess | None = None
    clean: bool = True
    last_seen: datetime | None = None


class _FormatHeader(msgspec.Struct):
    format: int


class _NamedEngine(msgspec.Struct, frozen=True):
    engine: EngineProcess | None = None


_decode_engine = msgspec.json.Decoder(_NamedEngine).decode


def this_process(since: datetime) -> EngineProcess:
    """Describe this process as the engine of a hub."""
    pid = os.getpid()
    return EngineProcess(pid, start_token(pid) or "", since)


def read_hub_file(disk: Disk, root: str) -> HubFile:
    """Read hub.json; raises NewerHub for a later format, and DamagedHub if it can't be read."""
    path = f"{root}/{HUB_FILE}"
    data = disk.read(path)
    try:
        found = msgspec.json.decode(data, type=_FormatHeader).format
        if found > SPILLED_FORMAT:
            raise NewerHub(
                f"{path} has format {found}, this durablecli supports {SPILLED_FORMAT}; install a later version"
            )
        return msgspec.json.decode(data, type=HubFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedHub(f"{path}: {error}; recreate it with: durable doctor --repair") from None


def write_hub_file(disk: Disk, root: str, content: HubFile) -> None:
    """Replace hub.json, durably."""
    disk.replace(f"{root}/{HUB_FILE}", msgspec.json.encode(content) + b"\n")


def read_engine_process(disk: Disk, root: str) -> EngineProcess | None:
    """Return the engine that hub.json names, dead or alive; None if it names none or can't be read."""
    try:
        return _decode_engine(disk.read(f"{root}/{HUB_FILE}")).engine
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
