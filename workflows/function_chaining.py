"""A chain with a way back: pack a folder, verify the archive, publish it; whatever fails, no half of it stays.

durable run function_chaining --input '{"source": "workflows", "target": "/tmp/backup.tar.gz"}'
"""

import hashlib
import os
import tarfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import durablecli as df


@dataclass(frozen=True)
class Backup:
    """What to pack, and the file to make of it."""

    source: str
    target: str


@dataclass(frozen=True)
class Archive:
    """A packed archive that isn't published yet."""

    partial: str
    target: str
    sha256: str = ""


@df.activity
def pack(backup: Backup) -> Archive:
    """Write the archive under a name of its own; running it again writes the same file again."""
    partial = f"{backup.target}.partial"
    with tarfile.open(partial, "w:gz") as archive:
        archive.add(backup.source, arcname=Path(backup.source).name)
    return Archive(partial, backup.target)


@df.activity
def verify(archive: Archive) -> Archive:
    """Read every byte back, and say what the file must look like from now on."""
    with tarfile.open(archive.partial) as packed:
        for member in packed:
            content = packed.extractfile(member)
            while content and content.read(1 << 20):
                pass
    return Archive(archive.partial, archive.target, _sha256(archive.partial))


@df.activity
def publish(archive: Archive) -> str:
    """Give the archive its name, but never the name of something else."""
    if not os.path.exists(archive.target):
        os.rename(archive.partial, archive.target)
    elif _sha256(archive.target) != archive.sha256:  # else an earlier run of this activity got as far as here
        raise FileExistsError(f"{archive.target} is another file already")
    return archive.sha256


@df.activity
def discard(partial: str) -> None:
    """Undo `pack`."""
    Path(partial).unlink(missing_ok=True)


@df.orchestrator
def function_chaining(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, str]]:
    """Each activity gets what the one before it gave."""
    backup: Backup = context.get_input(Backup)
    try:
        archive = yield context.call_activity(pack, backup)
        archive = yield context.call_activity(verify, archive)
        digest = yield context.call_activity(publish, archive)
    except df.TaskFailedError:
        yield context.call_activity(discard, f"{backup.target}.partial")
        raise
    return {"archive": backup.target, "sha256": digest}


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
