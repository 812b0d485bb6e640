"""chain: one instance of many steps. A step of a long history must cost what a step of a short one costs."""

from __future__ import annotations

from msgspec import Raw

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import measure_bare_loop, measure_run, open_engine, print_environment

SHORT, LONG = 100, 10_000


def measure_step(folder: str, steps: int, times: int) -> float:
    """Seconds a step, for `times` chains one after another."""
    with open_engine(folder) as running:
        steps_each = Raw(b"%d" % steps)
        took = [measure_run(running, [MessageItem(f"chain-{n}", name="chain", input=steps_each)]) for n in range(times)]
    return min(took) / steps


def main() -> None:
    folder = print_environment()
    before = measure_bare_loop()
    short = measure_step(folder, SHORT, 20)
    long = measure_step(folder, LONG, 2)
    again = measure_step(folder, SHORT, 20)
    after = measure_bare_loop()
    print(
        f"chain      {short * 1e6:.0f} µs a step at {SHORT}, {long * 1e6:.0f} at {LONG:,}, {again * 1e6:.0f} at {SHORT}"
    )
    print(f"           ratio {long / ((short + again) / 2):.2f} (1.0 is flat)")
    print(f"bare loop  {before:.3f} s before, {after:.3f} s after")


if __name__ == "__main__":
    main()
