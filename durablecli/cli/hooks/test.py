"""`durable hooks test`: sends a sample event to a hook."""

from __future__ import annotations

import logging

import click

from durablecli.cli.clients import load_settings
from durablecli.cli.options import format_exit_codes, output_option, state_dir_option
from durablecli.cli.output import Output, echo, echo_error

EPILOG = format_exit_codes(
    "0 delivered", "2 usage error", "3 no such hook", "6 not delivered", "78 configuration error"
)
_NOT_DELIVERED = 6


@click.command("test", epilog=EPILOG)
@click.argument("hook", metavar="HOOK|NO")
@state_dir_option
@output_option
def command(hook: str, state_dir: str | None, output_format: str | None) -> int:
    """Send one sample event to a hook now, and print the outcome. It isn't tried again, and no daemon is needed.

    HOOK is a name such as failed0, or an event with one hook; NO is its number in durable hooks list. The instance of
    the sample is named "sample" and doesn't exist.
    """
    from durablecli.builtin.hook_delivering import HookFailed
    from durablecli.builtin.hook_samples import find_hook, list_hooks, send_sample

    config, output = load_settings(state_dir), Output(output_format)
    found = find_hook(list_hooks(config.on), hook)
    error: str | None = None
    printed = _EchoHandler()
    log = logging.getLogger("durablecli.hook")
    level = log.level
    log.addHandler(printed)
    log.setLevel(logging.INFO)
    try:
        send_sample(found, config.state_dir, config.project)
    except HookFailed as raised:
        error = str(raised)
    finally:
        log.removeHandler(printed)
        log.setLevel(level)
    if not output.is_human_readable:
        output.print_value({"name": found.name, "target": found.label, "delivered": error is None, "error": error})
    elif error is None:
        output.print_line(f"{found.name}: delivered to {found.label}")
    if error is not None:
        echo_error(f"{found.name}: not delivered: {error}")
    return 0 if error is None else _NOT_DELIVERED


class _EchoHandler(logging.Handler):
    """Prints what the command of a hook has printed."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(record.getMessage())
