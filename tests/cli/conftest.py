"""The `durable` command, called in this process: what it prints, and how it ends."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from durablecli.__main__ import main
from tests.support.cli_harness import CommandResult

RunDurable = Callable[..., CommandResult]


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in; its hub is `.state`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def durable(work_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunDurable:
    """Run the command. `stdin` is what it reads; `terminal` makes stdin and stdout look like one."""

    def run(*arguments: str, stdin: str | bytes = "", terminal: bool = False) -> CommandResult:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["durable", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            for stream in (sys.stdin, sys.stdout) if terminal else ():
                patch.setattr(stream, "isatty", lambda: True, raising=False)
            patch.setenv("COLUMNS", "80")
            patch.setenv("PAGER", "cat")
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        captured = capsys.readouterr()
        code = ended.value.code
        return CommandResult(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run
