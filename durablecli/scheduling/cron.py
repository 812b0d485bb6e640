"""Cron expressions of schedules: which times of day they match, whatever the time zone.

Five fields are those of cron: a day matches if its number or its weekday does, where both are given. Six fields are
NCRONTAB's, which begin with the second; there a day must match both.
"""

from __future__ import annotations

from datetime import datetime

from durablecli.scheduling.expressions import join_fields

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIRST_TRY = datetime(2026, 1, 1)  # noqa: DTZ001 - what a clock shows


class CronExpression:
    """Times as a clock shows them, without a zone."""

    def __init__(self, fields: str, *, day_or: bool) -> None:
        self._fields = fields
        self._day_or = day_or
        self.is_hourly = fields.split()[2] in ("*", "*/1")
        """Whether it matches in every hour of its days."""

    def next_after(self, shown: datetime) -> datetime:
        """The first match after what a clock shows. Raises ValueError if there is none within 50 years."""
        from croniter import croniter  # slow to import, and only schedules need it

        found = croniter(self._fields, shown, second_at_beginning=True, day_or=self._day_or).get_next(datetime)
        assert isinstance(found, datetime)
        return found


def parse_cron(text: str) -> CronExpression:
    """Parse five or six fields, or a nickname such as `@daily`. Raises ValueError, in words."""
    fields = _NICKNAMES.get(text.strip().lower(), text).split()
    is_cron = len(fields) == 5
    hint = "use five cron fields such as '0 3 * * *', six with seconds first, @daily, or 'every 10m'"
    cron = CronExpression(join_fields(text, ["0", *fields] if is_cron else fields, hint), day_or=is_cron)
    try:
        cron.next_after(_FIRST_TRY)
    except (ValueError, KeyError) as error:
        raise ValueError(f"invalid schedule {text!r}, or one that is never due: {error}") from None
    return cron
