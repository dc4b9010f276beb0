"""Searches MBA's settings with Optuna: trials that merge too little are pruned before anything is trained.

    pip install optuna
    python examples/optuna_search.py

Each trial is first run on the clock alone, which takes a second and says exactly how many versions the training run
would have; then it is trained, and pruned by its validation accuracy on the way. Seeds of a search are none of the
results': the winner is run with others afterwards (`interlude sweep --seeds`).
"""

import argparse
from pathlib import Path
from typing import Any

import optuna

import interlude
from interlude.analysis.accuracy import final_accuracy

SCENARIO = Path(__file__).parents[1] / "scenarios" / "quickstart.yaml"
MBA = 3
"""Its place in the scenario's methods."""
SEED = 100


def settings_of(trial: optuna.Trial) -> list[str]:
    """Return the overrides of the scenario that a trial suggests."""
    return [
        f"methods.{MBA}.beta={trial.suggest_float('beta', 0.25, 4.0, log=True)}",
        f"methods.{MBA}.gamma={trial.suggest_float('gamma', 0.0, 2.0)}",
        f"training.local_epochs={trial.suggest_int('local_epochs', 1, 5)}",
        f"training.optimizer.learning_rate={trial.suggest_float('learning_rate', 0.01, 0.3, log=True)}",
    ]


class Pruner(interlude.Callback):
    """Ends a run as soon as Optuna expects nothing of its trial.

    Args:
        trial: Optuna's.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self.has_pruned = False

    def on_evaluation(self, evaluated: Any) -> bool:
        """Report the validation accuracy, over simulated seconds."""
        self._trial.report(evaluated.deciding_accuracy["fused"], round(evaluated.time_s))
        self.has_pruned = self._trial.should_prune()
        return self.has_pruned


def objective(trial: optuna.Trial, runs: Path, changes: list[str], least_versions: int) -> float:
    """Return the final validation accuracy of a trial's settings."""
    fixed = [f"name=trial-{trial.number}", f"seed={SEED}", "evaluate.validation=0.1", *changes]
    scenario = interlude.load_scenario(SCENARIO, [*settings_of(trial), *fixed])
    scenario = scenario.for_run(scenario.methods[MBA], SEED)
    (timed,) = interlude.run_scenario(scenario, runs=runs / "clock", timing_only=True)
    if timed.info["totals"]["versions"] < least_versions:
        raise optuna.TrialPruned
    pruner = Pruner(trial)
    (record,) = interlude.run_scenario(scenario, runs=runs / "trained", callbacks=[pruner])
    if pruner.has_pruned:
        raise optuna.TrialPruned
    return final_accuracy(record, "validation_accuracy")


def main() -> None:
    """Search, and print the best settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--least-versions", type=int, default=100, help="trials that would merge less are pruned")
    parser.add_argument("--runs", type=Path, default=Path("runs/optuna"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a field")
    given = parser.parse_args()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(lambda trial: objective(trial, given.runs, given.set, given.least_versions), n_trials=given.trials)
    print(f"best: {study.best_value:.3f} with {study.best_params}")  # noqa: T201


if __name__ == "__main__":
    main()
