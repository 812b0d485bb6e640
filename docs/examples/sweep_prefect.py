"""The sweep as a flow of Prefect: `python sweep_prefect.py`."""

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from random import Random

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import INPUTS
from prefect.futures import as_completed, wait
from prefect.runtime import flow_run
from prefect.task_runners import ProcessPoolTaskRunner


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


def stop_file() -> Path:
    """The file that ends the trials of this flow: Prefect can't cancel a task that runs, so each one looks for it."""
    return Path(f"stop-{flow_run.id}")


@task(
    task_run_name="rate {trial.rate}, decay {trial.decay}",
    retries=2,
    retry_delay_seconds=10,
    timeout_seconds=2 * 3600,  # there are no heartbeats: a trial that hangs is found at the end of its time
    persist_result=True,
    cache_policy=INPUTS,  # a flow that is run again after a crash loads the trials that have ended
)
def train(trial: Trial) -> Score | None:
    """Train until the loss has not improved for ten epochs. None if the sweep has ended before."""
    model, best, best_epoch = Model(trial), float("inf"), 0
    progress = create_progress_artifact(0.0, description=f"rate {trial.rate}, decay {trial.decay}")
    for epoch in range(1, trial.epochs + 1):
        if stop_file().exists():
            return None
        loss = model.train_epoch()
        update_progress_artifact(progress, 100 * epoch / trial.epochs, description=f"loss {loss:.4f}")
        if loss < best:
            best, best_epoch = loss, epoch
        elif epoch - best_epoch >= 10:
            break
    return Score(trial, best, epoch)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def sweep(plan: Plan) -> Score:
    trials = [Trial(rate, decay, plan.epochs) for rate, decay in product(plan.rates, plan.decays)]
    running = [train.submit(trial) for trial in trials]
    progress = create_progress_artifact(0.0, description="trials")
    best: Score | None = None
    try:
        for count, done in enumerate(as_completed(running, timeout=plan.hours * 3600), 1):
            update_progress_artifact(progress, 100 * count / len(trials))
            score = done.result(raise_on_failure=False)
            if isinstance(score, Score) and (best is None or score.loss < best.loss):
                best = score
                create_markdown_artifact(f"{best}", key="best")
            if best is not None and best.loss <= plan.target:
                break
    except TimeoutError:
        pass
    finally:
        stop_file().touch()
        wait(running)
        stop_file().unlink()
    if best is None:
        raise RuntimeError("no trial has succeeded")
    return best


if __name__ == "__main__":
    print(sweep(Plan()))
