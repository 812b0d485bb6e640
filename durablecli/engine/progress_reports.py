"""The progress that orchestrators have reported: of live executions, in the memory of the engine only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from durablecli.model.reported_progress import ReportedProgress


class ProgressReports:
    """The last report of each execution. An execution that has ended has none."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[str, ReportedProgress]] = {}

    def __bool__(self) -> bool:
        return bool(self._reports)

    def update(self, reports: Mapping[str, tuple[str, ReportedProgress]]) -> None:
        """Take the reports of a commit: by instance, each with its execution. The most recent come last."""
        for instance, report in reports.items():
            self._reports.pop(instance, None)
            self._reports[instance] = report

    def forget(self, ended: Iterable[tuple[str, str]]) -> None:
        """Forget executions that have ended, each given by its instance and execution."""
        for instance, execution in ended:
            if instance in self._reports and self._reports[instance][0] == execution:
                del self._reports[instance]

    def latest(self, count: int) -> list[tuple[str, str, ReportedProgress]]:
        """Return the most recent reports, each with its instance and execution; the latest come first."""
        recent = reversed(self._reports.items())
        return [
            (instance, execution, report)
            for (instance, (execution, report)), _ in zip(recent, range(count), strict=False)
        ]
