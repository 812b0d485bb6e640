"""The log of a daemon: lines of text, or with `log.format: json` one JSON object per line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from durablecli.config import LogConfig

_TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_daemon_log = logging.getLogger("durablecli.daemon")


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: `time` (UTC), `level`, `logger` and `message`, and the fields of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line. Characters beyond ASCII are escaped, so that no text can break it."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _get_message(record),
            **getattr(record, "durable", {}),
        }
        if record.exc_info or record.exc_text:
            line["traceback"] = record.exc_text or self.formatException(record.exc_info or (None, None, None))
        return json.dumps(line, default=str)


def _get_message(record: logging.LogRecord) -> str:
    """Return the text of a record; that of a call with wrong arguments names them instead of raising."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - user code
        return f"{record.msg} (not formatted: {type(error).__name__})"


def configure_logging(config: LogConfig, echo: Callable[[str], None]) -> Callable[[str], None]:
    """Have all loggers write to stderr, unless the program has configured that itself.

    Return the function for the daemon's own lines: `echo`, or one that logs them if they have to be JSON.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if config.format == "json" else logging.Formatter(_TEXT_FORMAT))
    logging.basicConfig(level=config.level.upper(), handlers=[handler])
    return echo if config.format == "text" else lambda text: _daemon_log.info("%s", text)
