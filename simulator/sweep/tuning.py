"""Tuning: runs the trials of every method, chooses settings by the validation part, and lays them into the sweep.

Trials are runs like any other, in ``runs/<sweep>/_tuning/<setting>/<label>-s<seed>``: finished ones are reused, and
what reads ``runs/<sweep>`` passes them by.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interlude.simulator.errors import BadInputError
from interlude.simulator.record.reader import RunRecord
from interlude.simulator.run.spec import run_specs
from interlude.simulator.scenario.loading import parse_scenario
from interlude.simulator.sweep.choice import Choice, best_setting, mean_score, tuned_by, validation_score
from interlude.simulator.sweep.grid import METHODS_FIELD, Sweep
from interlude.simulator.sweep.runs import Outcome, SweepExecutor, SweepWatcher, run_sweep
from interlude.simulator.sweep.trials import Trials, sweep_of, with_setting


@dataclass(frozen=True)
class Tried:
    """The trials of one method, and what came of them."""

    trials: Trials
    outcomes: tuple[Outcome, ...]
    """Of each setting and seed, in the order of the trials' scenarios."""
    scores: tuple[tuple[float | None, ...], ...]
    """Validation accuracy of each setting, by seed; None where the run failed or diverged."""

    @property
    def best(self) -> int | None:
        """Position of the setting with the best mean; None if every one has a run without a score."""
        return best_setting(self.scores)

    @property
    def choice(self) -> Choice | None:
        """The setting with the best mean; None if every one has a run without a score."""
        trials, best = self.trials, self.best
        mean = None if best is None else mean_score(self.scores[best])
        if best is None or mean is None:
            return None
        settings = trials.settings[best]
        return Choice(trials.label, trials.scenario, trials.points, settings, mean, trials.grid, trials.seeds)

    @property
    def failure(self) -> str:
        """What is said of a method without a choice."""
        trials = self.trials
        why = next((outcome.error for outcome in self.outcomes if outcome.error), "its training diverged")
        return (
            f"tuning of '{trials.label}' on {trials.scenario}: none of its {len(trials.settings)} settings has a "
            f"complete run on every seed; the first failed: {why}"
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each setting and seed, as in tuning.csv."""
        outcomes = iter(self.outcomes)
        for place, (setting, scores) in enumerate(zip(self.trials.settings, self.scores, strict=True)):
            for seed, score in zip(self.trials.seeds, scores, strict=True):
                yield {
                    "scenario": self.trials.scenario,
                    "method": self.trials.label,
                    **setting,
                    "seed": seed,
                    "status": _status(next(outcomes)),
                    "validation_accuracy": score,
                    "chosen": place == self.best,
                }


def run_trials(
    sweep: Sweep,
    trials: Sequence[Trials],
    executor: SweepExecutor,
    *,
    runs: str | Path = "runs",
    device: str = "auto",
    overwrite: bool = False,
    watch: SweepWatcher | None = None,
) -> list[Tried]:
    """Execute every trial that is not finished yet.

    Args:
        sweep: the sweep whose methods are tuned.
        trials: of each of its methods.
        executor: executes the runs.
        runs: where run directories go; trials are in the sweep's own.
        device: as `run_sweep`'s.
        overwrite: replace existing runs, finished ones included.
        watch: receives the progress.

    Returns:
        What came of the trials of each method. A run that fails stops no other; its setting loses, as it does if the
        run diverged.

    Raises:
        BadInputError: as `run_sweep`; also if a run of the sweep is there already that was not tuned so.
    """
    if not overwrite:
        _check_results(sweep, trials, Path(runs))
    outcomes = run_sweep(
        sweep_of(trials), executor, runs=sweep.directory(Path(runs)), device=device, overwrite=overwrite, watch=watch
    )
    scores = [_score(outcome) for outcome in outcomes]
    found, start = [], 0
    for tried in trials:
        end, num_seeds = start + len(tried.scenarios), len(tried.seeds)
        by_setting = tuple(tuple(scores[i : i + num_seeds]) for i in range(start, end, num_seeds))
        found.append(Tried(tried, tuple(outcomes[start:end]), by_setting))
        start = end
    return found


def tuned(sweep: Sweep, choices: Sequence[Choice]) -> Sweep:
    """Return a sweep with the chosen settings of each method, which its runs' records name.

    A method is left out at the points that no choice is for.
    """
    by_run = {(point, choice.label): choice for choice in choices for point in choice.points}
    scenarios, documents = [], []
    for scenario, document in zip(sweep.scenarios, sweep.documents, strict=True):
        chosen = {method.run_label: by_run.get((scenario.name, method.run_label)) for method in scenario.methods}
        facts, entries = {}, []
        changed = document
        for position, (label, choice) in enumerate(chosen.items()):
            if choice is not None:
                changed = with_setting(changed, position, choice.values, f"{METHODS_FIELD}.{position}")
                facts[label] = choice.facts()
                entries.append(position)
        if not entries:
            continue
        changed = {**changed, METHODS_FIELD: [changed[METHODS_FIELD][position] for position in entries]}
        found = parse_scenario(changed, scenario.name)
        scenarios.append(found.with_origin(replace(scenario.origin, tuned=facts)))
        documents.append(changed)
    return replace(sweep, scenarios=tuple(scenarios), documents=tuple(documents))


def tuning_table(found: Sequence[Tried]) -> pd.DataFrame:
    """Return a row for each method, setting and seed: their fields, and the validation accuracy.

    Columns: scenario, method, each field that is tried for any method, seed, status (complete, diverged or failed),
    validation_accuracy (missing where the run diverged or failed), chosen.
    """
    fields = dict.fromkeys(field for tried in found for field in tried.trials.grid)
    columns = ["scenario", "method", *fields, "seed", "status", "validation_accuracy", "chosen"]
    table = pd.DataFrame([row for tried in found for row in tried.rows()], columns=columns, dtype=object)
    return table.astype({"seed": int, "validation_accuracy": float, "chosen": bool})


def _score(outcome: Outcome) -> float | None:
    return validation_score(RunRecord(outcome.path).metrics) if _status(outcome) == "complete" else None


def _status(outcome: Outcome) -> str:
    has_diverged = (outcome.path / "run.json").exists() and RunRecord(outcome.path).diverged_at_s is not None
    return "diverged" if has_diverged else "complete" if outcome.error is None else "failed"


def _check_results(sweep: Sweep, trials: Sequence[Trials], runs: Path) -> None:
    """Refuse runs of the sweep that are there but were not tuned so, before hours of trials rather than after them."""
    by_run = {(point, tried.label): tried for tried in trials for point in tried.points}
    for scenario in sweep.scenarios:
        for spec in run_specs(scenario, sweep.parent_of_points(runs), torch.device("cpu"), timing_only=False):
            if not (spec.path / "run.json").exists():
                continue
            label = spec.options.run_label
            tried = by_run[scenario.name, label]
            wanted = tuned_by(tried.grid, tried.seeds)
            info = RunRecord(spec.path).info
            said = info.get("origin", {}).get("tuned", {}).get(label, {})
            if "origin" in info and {key: said.get(key) for key in wanted} != wanted:
                raise BadInputError(
                    f"{spec.path}: already holds a run that was not tuned by this grid on these seeds; pass "
                    "--overwrite to replace it, or choose another directory with --runs"
                )
