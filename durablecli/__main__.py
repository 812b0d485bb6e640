"""The `durable` command: runs a subcommand, and turns every error into one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # imported later, where Ctrl-C is handled
    import click


_RECURSION_LIMIT = 3_000


def main() -> None:
    """Run the command. No input of a user and no file on disk leads to a traceback."""
    if sys.platform == "win32":
        sys.exit("durable: runs on Linux and macOS only; on Windows use WSL")
    _open_standard_descriptors()
    sys.stdout = sys.stdout or _open_devnull()
    sys.stderr = sys.stderr or _open_devnull()
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is printed escaped, and never stops a subcommand half-way.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    # Histories of earlier versions may hold JSON nested almost as deep as the default limit allows to decode.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION_LIMIT))
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt as stopped:
        code = getattr(stopped, "exit_code", 130)
    sys.exit(_flush_output(code))


def _flush_output(code: int) -> int:
    """Flush the streams; return the exit code, 74 if that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _handle_closed_pipe()
    except OSError as error:
        _redirect_to_devnull(sys.stdout)
        code = _print_error(f"standard output: {error.strerror}", 74)
    try:
        sys.stderr.flush()
    except OSError:
        _redirect_to_devnull(sys.stderr)
        code = 74
    return code


def _open_standard_descriptors() -> None:
    """Open the standard descriptors that the caller has closed: else the next file would get such a number, and the
    output of activities, and of programs that they start, would go into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number


def _open_devnull() -> TextIO:
    """Return a stream in place of one that the caller has closed (`>&-`)."""
    return open(os.devnull, "w", encoding="utf-8")


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["run-daemon"]:
        from durablecli.os_signals import block_sigterm

        block_sigterm()
    import click

    from durablecli.errors import DurableError

    try:
        return _invoke(arguments)
    except click.ClickException as error:
        return _print_error(_format_usage_error(error, arguments), error.exit_code)
    except DurableError as error:
        return _print_error(str(error), error.exit_code)
    except click.Abort:
        return 130
    except BrokenPipeError:
        return _handle_closed_pipe()
    except PermissionError as error:
        return _print_error(f"no permission: {error.filename or error}", 77)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _print_error(f"storage error: {where}{error.strerror or error}", 74)
    except Exception as error:
        if _is_thread_limit_error(error):
            return _print_error("can't start a new thread; raise the limit on processes (ulimit -u)", 74)
        if os.environ.get("DURABLE_DEBUG"):
            raise
        return _print_error(
            f"internal error: {type(error).__name__}: {error} (please report it; DURABLE_DEBUG=1 shows the traceback)",
            1,
        )


def _is_thread_limit_error(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and str(error) == "can't start new thread"


def _invoke(arguments: list[str]) -> int:
    """Do the work of click's `main`, except for errors: it exits with 1 when a pipe is closed."""
    import click

    from durablecli.cli import durable

    instruction = os.environ.get("_DURABLE_COMPLETE")
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(durable, {}, "durable", "_DURABLE_COMPLETE", instruction)
    try:
        with durable.make_context("durable", arguments) as context:
            code = durable.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return code if isinstance(code, int) else 0


def _format_usage_error(error: click.ClickException, arguments: list[str]) -> str:
    """Return the message in one line, with the command that shows the help."""
    import click

    context = getattr(error, "ctx", None)  # click gives none for an option that lacks its value
    path = context.command_path if context is not None else _find_command_path(arguments)
    message = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption) and context is not None:
        names = [
            each.make_metavar(context).removesuffix("...")
            for each in context.command.params
            if isinstance(each, click.Argument)
        ]
        if names:
            message += f"; an argument that begins with - comes after --: {path} -- {' '.join(names)}"
    end = "" if message.endswith("?") else "."
    return f"{message}{end} Try '{path} --help'"


def _find_command_path(arguments: list[str]) -> str:
    from durablecli.cli import durable

    verb = next((each for each in arguments if not each.startswith("-")), "")
    return f"durable {verb}" if verb in durable.verbs else "durable"


def _print_error(text: str, code: int) -> int:
    """Print an error; return the exit code, 74 if that fails too."""
    from durablecli.escape import escape

    try:
        sys.stderr.write(f"durable: {escape(text)}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        _redirect_to_devnull(sys.stderr)
    except OSError:
        _redirect_to_devnull(sys.stderr)
        return 74
    return code


def _handle_closed_pipe() -> int:
    """Write nothing more after the reader has closed the pipe (`| head`), also not when the interpreter ends."""
    _redirect_to_devnull(sys.stdout)
    return 0


def _redirect_to_devnull(stream: TextIO) -> None:
    """Discard what can't be written, also when the interpreter flushes the stream at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
