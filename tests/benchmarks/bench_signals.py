"""signals: what entities take in from one orchestration's fan-out: all to one of them, and spread over a thousand."""

from __future__ import annotations

from msgspec import Raw, json

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import measure_bare_loop, measure_run, open_engine, print_environment

SIGNALS = 50_000
ROUNDS = 3


def measure_rates(folder: str, entities: int) -> list[float]:
    """Signals a second, from the start of the fan-out until the last is applied and on disk; one figure a round."""
    found = []
    with open_engine(folder) as running:
        for number in range(ROUNDS):
            given = Raw(json.encode({"signals": SIGNALS, "entities": entities, "round": number}))
            found.append(
                SIGNALS / measure_run(running, [MessageItem(f"fan-{number}", name="fan_out_signals", input=given)])
            )
            totals = [running.instances.get_entity(f"@tally@{number}-{key}") for key in range(entities)]
            counted = sum(json.decode(entity.runtime_state.state) for entity in totals if entity is not None)
            assert counted == SIGNALS, f"{counted:,} of {SIGNALS:,} signals were applied"
    return found


def main() -> None:
    folder = print_environment()
    before = measure_bare_loop()
    for entities in (1, 1_000):
        rounds = " / ".join(f"{each:,.0f}" for each in measure_rates(folder, entities))
        print(f"signals    {rounds} a second, {SIGNALS:,} to {entities:,}")
    print(f"bare loop  {before:.3f} s before, {measure_bare_loop():.3f} s after")


if __name__ == "__main__":
    main()
