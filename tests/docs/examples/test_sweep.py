"""The sweep: it ends at the first trial that is good enough, or at the deadline, and a failed trial does no harm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

import durablecli as df
from docs.examples import sweep
from durablecli.errors import OrchestrationFailed
from durablecli.testing import TestEnvironment

MakeHub = Callable[..., TestEnvironment]


def canceled(hub: TestEnvironment) -> int:
    return [type(record.event).__name__ for record in hub.client.get_history("s")].count("TaskCanceled")


def start(hub: TestEnvironment, **plan: object) -> TestEnvironment:
    hub.client.start_new(sweep.sweep, "s", plan)
    return hub


def test_the_first_good_trial_ends_the_sweep(durable_hub: MakeHub) -> None:
    hub = start(durable_hub(sweep), rates=[1e-6, 0.1, 0.2, 0.3], decays=[0.0], epochs=50)
    best = hub.finish("s").get_output(sweep.Score)
    assert best.trial.rate == 0.1
    assert best.loss <= sweep.Plan().target
    assert canceled(hub) == 2


def test_without_a_good_trial_the_best_one_counts(durable_hub: MakeHub) -> None:
    hub = start(durable_hub(sweep), rates=[1e-6, 0.01, 0.1], decays=[0.0], epochs=20, target=0)
    assert hub.finish("s").get_output(sweep.Score).trial.rate in (0.01, 0.1)
    assert canceled(hub) == 0


def test_a_trial_that_does_not_improve_ends_early(durable_hub: MakeHub) -> None:
    hub = start(durable_hub(sweep), rates=[0.1], decays=[0.0], epochs=10_000, target=0)
    assert hub.finish("s").get_output(sweep.Score).epochs < 500


@df.activity(name="train", retry=df.RetryPolicy(first=1, max_attempts=2))
def slow_or_broken(trial: sweep.Trial) -> sweep.Score:
    if trial.rate == 1:
        raise ValueError("the loss is no number")
    if trial.rate == 2:
        raise df.RetryAfter(9 * 3600)
    return sweep.Score(trial, trial.rate, trial.epochs)


def test_the_deadline_ends_the_sweep_with_the_best_so_far(durable_hub: MakeHub) -> None:
    hub = durable_hub(sweep.sweep, slow_or_broken)
    began = hub.clock.now()
    start(hub, rates=[1, 2, 3, 4], decays=[0.0])
    assert hub.finish("s").get_output(sweep.Score).trial.rate == 3
    assert hub.clock.now() - began == timedelta(hours=8)
    assert canceled(hub) == 1


def test_a_sweep_whose_trials_all_fail_has_failed(durable_hub: MakeHub) -> None:
    hub = start(durable_hub(sweep.sweep, slow_or_broken), rates=[1], decays=[0.0])
    with pytest.raises(OrchestrationFailed, match="no trial has succeeded"):
        hub.finish("s").get_output(sweep.Score)
