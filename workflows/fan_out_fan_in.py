"""Count the words of a tree of files: one activity a folder, all at once, with progress while they run.

durable run fan_out_fan_in --input '{"root": "/usr/share/doc", "pattern": "**/*.txt"}'
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import durablecli as df


@dataclass(frozen=True)
class Tree:
    """Files below `root`, as `Path.glob` finds them, except those below a folder with a name in `exclude`."""

    root: str
    pattern: str = "**/*.txt"
    exclude: tuple[str, ...] = ("site-packages", "__pycache__")


@dataclass(frozen=True)
class Folder:
    """The files of one folder: enough work for one activity, and its input is short however many they are."""

    path: str
    names: str


@dataclass(frozen=True)
class Count:
    """What a folder holds."""

    folder: str
    files: int
    words: int
    bytes: int


@df.activity
def find_folders(tree: Tree) -> list[Folder]:
    """All folders that hold a file to count. The order is part of the result, so it is recorded."""
    names = PurePath(tree.pattern).name
    root, exclude = Path(tree.root), {*tree.exclude}
    files = (path for path in root.glob(tree.pattern) if exclude.isdisjoint(path.relative_to(root).parts))
    folders = {path.parent for path in files if path.is_file()}
    return [Folder(str(path), names) for path in sorted(folders)]


@df.activity
def count_words(folder: Folder) -> Count:
    """Count what stands directly in the folder."""
    files = [path for path in Path(folder.path).glob(folder.names) if path.is_file()]
    words = size = 0
    for path in files:
        content = path.read_bytes()
        words += len(content.split())
        size += len(content)
    return Count(folder.path, len(files), words, size)


@df.orchestrator
def fan_out_fan_in(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Start everything, then take the results as they come."""
    folders = yield context.call_activity(find_folders, context.get_input(Tree))
    pending = [context.call_activity(count_words, folder) for folder in folders]
    counts: list[Count] = []
    while pending:
        done = yield context.task_any(pending)
        pending.remove(done)
        counts.append(done.get_result())
        context.set_custom_status(f"{len(counts)} of {len(folders)} folders")
    counts.sort(key=lambda count: (-count.words, count.folder))
    return {
        "folders": len(counts),
        "files": sum(count.files for count in counts),
        "words": sum(count.words for count in counts),
        "bytes": sum(count.bytes for count in counts),
        "richest": [{"folder": count.folder, "words": count.words} for count in counts[:3]],
    }
