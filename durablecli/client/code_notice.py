"""A line on code that isn't the one that runs: files that have changed since an engine loaded them."""

from __future__ import annotations

import msgspec

from durablecli.project import display_source_path
from durablecli.store.engine_info import CodeInfo, EngineInfo


def code_notice(info: EngineInfo | None) -> str | None:
    """Return the line on the code of a running engine; None if its files are as they were loaded."""
    return None if info is None or info.code is msgspec.UNSET else format_code_notice(info.code)


def format_code_notice(code: CodeInfo) -> str | None:
    """Return the line: why the files can't be loaded, or which of them have changed; None if they are as loaded."""
    if code.error or not code.changed:
        return code.error or None
    at = f"{code.loaded_at.astimezone():%H:%M:%S}"
    first, *others = map(display_source_path, code.changed)
    files = f"{first} and {len(others)} more" if others else first
    them = "them" if others else "it"
    return f"{files} changed since the daemon loaded {them} ({at}); restart it, or use durable dev"
