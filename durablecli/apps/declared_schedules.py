"""The schedules that an app declares: by decorators, and in durable.yaml, which overrides a decorator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec

from durablecli.config import Config
from durablecli.errors import InvalidInput
from durablecli.model.payloads import encode
from durablecli.model.suggestions import did_you_mean
from durablecli.project import CONFIG_FILE
from durablecli.registry import Function, Registry
from durablecli.scheduling.checks import check_schedule
from durablecli.scheduling.schedule_state import Overlap, ScheduleSpec


@dataclass(frozen=True)
class DeclaredSchedule:
    """A schedule, and where it is declared: `file:line`, or durable.yaml."""

    spec: ScheduleSpec
    location: str


@dataclass(frozen=True)
class ScheduleDeclarations:
    """The valid schedules by name, and a line for each problem. `broken` has the lines of the invalid ones, by name."""

    schedules: dict[str, DeclaredSchedule]
    problems: tuple[str, ...]
    broken: Mapping[str, str] = field(default_factory=dict)

    @property
    def specs(self) -> list[ScheduleSpec]:
        return [each.spec for each in self.schedules.values()]


def collect_schedules(registry: Registry, config: Config) -> ScheduleDeclarations:
    """Collect the schedules of the loaded functions and of the settings, which were checked when they were read. The
    inputs are checked here, by what the orchestrators declare."""
    found: dict[str, DeclaredSchedule] = {}
    problems: list[str] = []
    broken: dict[str, str] = {}
    configured = {name.casefold() for name in config.schedules}
    for function in registry:
        if function.schedule is None or function.name.casefold() in configured:
            continue
        try:
            found[function.name] = DeclaredSchedule(_make_spec(function), function.source_location)
        except ValueError as error:
            broken[function.name] = f"{function.source_location}: the schedule of {function.name} is off: {error}"
    for name, one in config.schedules.items():
        target = registry.find_orchestrator(one.orchestrator)
        if target is None and config.grpc.listen is None:
            known = [each.name for each in registry.functions_of_kind("orchestrator")]
            hint = did_you_mean(one.orchestrator, known)
            problems.append(f"{CONFIG_FILE}: schedule '{name}': orchestrator '{one.orchestrator}' isn't loaded{hint}")
        orchestrator = one.orchestrator if target is None else target.name
        try:
            value = _to_json(one.input, target)
        except InvalidInput as error:
            broken[name] = f"{CONFIG_FILE}: schedule '{name}' is off: its input doesn't fit {orchestrator}: {error}"
            continue
        spec = ScheduleSpec(name, orchestrator, one.schedule, one.timezone, one.overlap, one.catch_up, value)
        found[name] = DeclaredSchedule(spec, CONFIG_FILE)
    return ScheduleDeclarations(dict(sorted(found.items())), (*problems, *broken.values()), broken)


def _make_spec(function: Function) -> ScheduleSpec:
    options = function.schedule
    assert options is not None
    check_schedule(function.name, options.schedule, options.timezone, options.overlap, options.input)
    overlap = cast("Overlap", options.overlap)
    try:
        value = _to_json(options.input, function)
    except InvalidInput as error:
        raise ValueError(f"its input doesn't fit: {error}") from None
    return ScheduleSpec(
        function.name, function.name, options.schedule, options.timezone, overlap, bool(options.catch_up), value
    )


def _to_json(value: object, function: Function | None) -> object:
    """The value as it is read back from a hub, completed as that of a start. Raises InvalidInput."""
    payload = encode(value)
    if function is not None and (rules := function.input_rules) is not None:
        payload = rules.complete(None if value is None else payload)
    return msgspec.json.decode(payload)
