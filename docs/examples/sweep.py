"""Searches good hyper-parameters: trials in worker processes, until one is good enough or the time is up."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from random import Random

import durablecli as df


@dataclass(frozen=True)
class Plan:
    """A grid of trials, and when to stop."""

    rates: list[float] = field(default_factory=lambda: [0.001, 0.01, 0.1, 1.0])
    decays: list[float] = field(default_factory=lambda: [0.0, 0.001, 0.01])
    epochs: int = 200
    target: float = 0.02
    hours: float = 8


@dataclass(frozen=True)
class Trial:
    rate: float
    decay: float
    epochs: int


@dataclass(frozen=True)
class Score:
    trial: Trial
    loss: float
    epochs: int


class Model:
    """A line through noisy points. Put your own model here."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.random = trial, Random(1)
        self.slope = self.offset = 0.0

    def train_epoch(self) -> float:
        """Return the mean square error of the epoch."""
        losses = []
        for _ in range(500):
            x = self.random.uniform(-1, 1)
            error = self.slope * x + self.offset - (2 * x + 1 + self.random.gauss(0, 0.1))
            self.slope -= self.trial.rate * (error * x + self.trial.decay * self.slope)
            self.offset -= self.trial.rate * error
            losses.append(error * error)
        return sum(losses) / len(losses)


@df.activity(executor="process", heartbeat_timeout="5m", retry=df.RetryPolicy(first="10s", max_attempts=3))
def train(trial: Trial, context: df.ActivityContext) -> Score:
    """Train until the loss has not improved for ten epochs."""
    model, best, best_epoch = Model(trial), float("inf"), 0
    for epoch in range(1, trial.epochs + 1):
        loss = model.train_epoch()
        context.heartbeat({"epoch": epoch, "loss": loss})
        context.progress(epoch, trial.epochs, f"loss {loss:.4f}")
        if loss < best:
            best, best_epoch = loss, epoch
        elif epoch - best_epoch >= 10:
            break
    return Score(trial, best, epoch)


@df.orchestrator
def sweep(context: df.DurableOrchestrationContext, plan: Plan):
    trials = [Trial(rate, decay, plan.epochs) for rate, decay in product(plan.rates, plan.decays)]
    running = [context.call_activity(train, trial, name=f"rate {trial.rate}, decay {trial.decay}") for trial in trials]
    deadline = context.create_timer(timedelta(hours=plan.hours))
    best: Score | None = None
    while running and (best is None or best.loss > plan.target):
        done = yield context.task_any([*running, deadline])
        if done == deadline:
            break
        running.remove(done)
        context.progress(len(trials) - len(running), len(trials), "trials")
        if not done.is_faulted and (best is None or done.result.loss < best.loss):
            best = done.result
            context.set_custom_status(best)
    for task in running:
        task.cancel()
    if best is None:
        raise RuntimeError("no trial has succeeded")
    return best
