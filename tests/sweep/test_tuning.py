"""Settings chosen per method on the validation part: what is tried, what wins, what the records say."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from records import times_in

from interlude import load_records, load_runs, load_scenario
from interlude.analysis.report.facts import facts_of
from interlude.simulator.record.writer import RunWriter
from interlude.simulator.sweep import Flags, load_sweep
from interlude.simulator.sweep.choice import best_setting, validation_score
from interlude.simulator.sweep.runs import Ended, run_sweep
from interlude.simulator.sweep.trials import plan_trials, sweep_of
from interlude.simulator.sweep.tuning import run_trials, tuned, tuning_table
from interlude.simulator.sweep.worker import execute

RATE, EPOCHS = "training.optimizer.learning_rate", "training.local_epochs"
TUNE = {"seeds": [7, 8], "grid": {RATE: [0.02, 0.1], EPOCHS: [1, 5]}}
METHODS = [{"name": "fedavg"}, {"name": "mba"}]


@pytest.fixture
def tuned_file(scenario_file):
    """Return a function from changes to the file of a scenario with a ``tune`` block and a validation part."""

    def write(changes=None):
        return scenario_file({"evaluate.validation": 0.1, "methods": METHODS, "tune": TUNE, **(changes or {})})

    return write


class Pretended:
    """An executor that trains nothing: it writes the accuracies that a function of the run names; None: it failed.

    Args:
        accuracies: from a run to its validation and its test accuracy, and pairs of more totals.
    """

    def __init__(self, accuracies):
        self.accuracies = accuracies

    def choose_device(self, name):
        return torch.device("cpu")

    def check(self, num_runs):
        pass

    def play(self, tasks, keep_open):
        for task in tasks:
            found = self.accuracies(task.spec)
            if found is None:
                yield Ended(task, "the training loss is nan")
                continue
            writer = RunWriter(task.spec.path, task.identity)
            writer.add_facts(task.spec.facts)
            validation, test, *more = found
            rows = [("validation_accuracy", "fused", validation), ("accuracy", "fused", test)]
            writer.add_metrics(0.0, 0, rows)
            writer.close("complete", {"simulated_s": 0.0, "versions": 0, **dict(more)})
            yield Ended(task)


class InThisProcess(Pretended):
    """An executor that plays runs without a process of their own."""

    def __init__(self):
        super().__init__(None)

    def play(self, tasks, keep_open):
        for task in tasks:
            yield Ended(task, *(execute(task.spec, task.spec.runs, "cpu", None) or ()))


def metrics_of(validation, test):
    rows = [
        (float(time_s), 0, metric, "fused", value)
        for time_s, pair in enumerate(zip(validation, test, strict=True))
        for metric, value in zip(("validation_accuracy", "accuracy"), pair, strict=True)
    ]
    return pd.DataFrame(rows, columns=["time_s", "version", "metric", "modality", "value"])


def test_a_run_scores_its_mean_validation_accuracy_over_the_last_tenth_whatever_the_test_set_says():
    validation = [0.1] * 19 + [0.5, 0.7, 0.9]  # of 22 evaluations the last 3
    for test in ([0.0] * 22, [1.0] * 22):
        assert validation_score(metrics_of(validation, test)) == pytest.approx(0.7)
    assert validation_score(metrics_of([0.3], [0.9])) == 0.3
    assert validation_score(metrics_of([0.3, float("nan")], [0.9, 0.9])) is None
    assert validation_score(metrics_of([], [])) is None


def test_the_best_mean_wins_the_first_of_equal_ones_and_a_failed_run_loses():
    assert best_setting([[0.4, 0.6], [0.7, 0.3], [0.2, 0.4]]) == 0
    assert best_setting([[0.9, None], [0.1, 0.2]]) == 1
    assert best_setting([[None], [0.0]]) == 1
    assert best_setting([[0.9, None], [None, None]]) is None


def test_every_setting_is_tried_on_every_seed_for_each_method_apart(tuned_file):
    tune = {**TUNE, "methods": {"mba": {"beta": [0.5, 2.0], EPOCHS: [3]}}}
    sweep = load_sweep(tuned_file({"tune": tune, "until.accuracy": 0.9}), (), Flags(seeds=[0], clients=[9]))
    fedavg, mba = plan_trials(sweep, "tiny.yaml")
    assert [tuple(s.values()) for s in fedavg.settings] == [(0.02, 1), (0.02, 5), (0.1, 1), (0.1, 5)]
    assert [tuple(s.values()) for s in mba.settings] == [(0.02, 3, 0.5), (0.02, 3, 2.0), (0.1, 3, 0.5), (0.1, 3, 2.0)]
    assert [(s.name, s.seed) for s in mba.scenarios[:3]] == [
        ("tiny-learning_rate-0.02_local_epochs-3_beta-0.5", 7),
        ("tiny-learning_rate-0.02_local_epochs-3_beta-0.5", 8),
        ("tiny-learning_rate-0.02_local_epochs-3_beta-2.0", 7),
    ]
    last = mba.scenarios[-1]
    (method,) = last.methods
    training = last.training_of(method)
    assert (method.beta, training.local_epochs, training.optimizer.learning_rate) == (2.0, 3, 0.1)
    assert last.clients.count == 4  # tuned once, without the sweep's values
    assert last.until.accuracy is None


def test_a_sweep_may_be_tuned_at_every_point(tuned_file):
    path = tuned_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1]}, "tune": {**TUNE, "per_point": True}})
    trials = plan_trials(load_sweep(path), path)
    assert [(tried.scenario, tried.label, set(tried.points)) for tried in trials] == [
        (f"tiny-clients-{count}", label, {f"tiny-clients-{count}"}) for count in (4, 8) for label in ("fedavg", "mba")
    ]
    assert [tried.scenarios[0].clients.count for tried in trials] == [4, 4, 8, 8]


def accuracies(spec):
    """Fedavg is best with 0.1 and 1 pass, mba with 0.02 and 5; 0.1 with 5 diverges once; the test set disagrees."""
    rate, epochs = spec.training.optimizer.learning_rate, spec.training.local_epochs
    if (rate, epochs, spec.scenario.seed) == (0.1, 5, 8):
        return None
    best = {"fedavg": (0.1, 1), "mba": (0.02, 5)}[spec.options.name]
    return (0.8, 0.1) if (rate, epochs) == best else (0.5, 0.9)


def test_each_method_runs_with_its_own_choice_and_records_say_of_what_it_was_chosen(tuned_file, tmp_path):
    path = tuned_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1]}})
    sweep, executor = load_sweep(path), Pretended(accuracies)
    found = run_trials(sweep, plan_trials(sweep, path), executor, runs=tmp_path)
    table = tuning_table(found)
    assert len(table) == 2 * 4 * 2
    assert table.loc[table["chosen"], ["method", RATE, EPOCHS, "seed"]].to_numpy().tolist() == [
        ["fedavg", 0.1, 1, 7],
        ["fedavg", 0.1, 1, 8],
        ["mba", 0.02, 5, 7],
        ["mba", 0.02, 5, 8],
    ]
    assert table.loc[table["status"] == "failed", [RATE, EPOCHS, "seed"]].to_numpy().tolist() == [[0.1, 5, 8]] * 2
    assert table["validation_accuracy"].isna().sum() == 2
    changed = tuned(sweep, [tried.choice for tried in found])
    assert [scenario.name for scenario in changed.scenarios] == [scenario.name for scenario in sweep.scenarios]
    for scenario in changed.scenarios:
        settings = [scenario.training_of(method) for method in scenario.methods]
        assert [(s.optimizer.learning_rate, s.local_epochs) for s in settings] == [(0.1, 1), (0.02, 5)]
        assert scenario.for_run(scenario.methods[1], 0).origin.facts()["tuned"] == {
            "mba": {
                "chosen": {RATE: 0.02, EPOCHS: 5},
                "validation_accuracy": 0.8,
                "on": "tiny",
                "grid": {RATE: [0.02, 0.1], EPOCHS: [1, 5]},
                "seeds": [7, 8],
            }
        }
    failed = tmp_path / "tiny/_tuning/tiny-learning_rate-0.1_local_epochs-5/mba-s8/run.json"
    assert json.loads(failed.read_text())["status"] == "failed"


def test_a_setting_whose_run_diverged_loses_however_accurate_it_is(tuned_file, tmp_path):
    def by_epochs(spec):
        return (0.9, 0.9, ("diverged_at_s", 3.0)) if spec.training.local_epochs == 5 else (0.2, 0.2)

    sweep = load_sweep(tuned_file(), may_be_one=True)
    found = run_trials(sweep, plan_trials(sweep, ""), Pretended(by_epochs), runs=tmp_path)
    assert [tried.choice.values[EPOCHS] for tried in found] == [1, 1]
    table = tuning_table(found)
    assert table.loc[table[EPOCHS] == 5, "status"].unique().tolist() == ["diverged"]


def test_a_method_without_any_complete_setting_is_named_and_left_out(cli, tuned_file, tmp_path, monkeypatch):
    class WithoutFedAvg(InThisProcess):
        def play(self, tasks, keep_open):
            for task in tasks:
                is_refused = task.spec.options.name == "fedavg"
                yield Ended(task, "the training loss is nan") if is_refused else next(super().play([task], keep_open))

    monkeypatch.setattr("interlude.simulator.sweep.executors.executor_for", lambda *_: WithoutFedAvg())
    few = {"until": {"versions": 3}, "evaluate.every_s": 2, "tune": {"seeds": [7], "grid": {RATE: [0.02, 0.1]}}}
    code, _, err = cli("sweep", tuned_file(few), "--tune", "--runs", tmp_path)
    assert code == 1
    assert "left out: tuning of 'fedavg' on tiny: none of its 2 settings has a complete run on every seed;" in err
    assert "training loss is nan" in err
    table = pd.read_csv(tmp_path / "tiny/tuning.csv")
    assert set(table.loc[table["chosen"], "method"]) == {"mba"}
    assert load_runs(tmp_path / "tiny")["method"].tolist() == ["mba"]


def test_tuning_of_which_nothing_is_complete_ends_the_sweep(cli, tuned_file, tmp_path, monkeypatch):
    monkeypatch.setattr("interlude.simulator.sweep.executors.executor_for", lambda *_: Pretended(lambda spec: None))
    code, _, err = cli("sweep", tuned_file(), "--tune", "--runs", tmp_path)
    assert code == 1
    assert "tuning of 'fedavg' on tiny: none of its 4 settings" in err
    assert not (tmp_path / "tiny/mba-s0").exists()


def test_the_command_tunes_runs_and_does_neither_again(cli, tuned_file, tmp_path, monkeypatch):
    monkeypatch.setattr("interlude.simulator.sweep.executors.executor_for", lambda *_: InThisProcess())
    runs = tmp_path / "runs"
    changes = {
        "methods": [{"name": "fedavg"}],
        "tune": {"seeds": [7], "grid": {RATE: [1.0e-6, 0.1]}},
        "until": {"versions": 3},
        "evaluate.every_s": 2,
    }
    command = ["sweep", tuned_file(changes), "--tune", "--runs", runs]
    code, out, err = cli(*command)
    assert (code, err) == (0, "")
    assert "Tuning: 2 runs, then 1" in out
    assert "chosen by the accuracy on the validation part" in out
    table = pd.read_csv(runs / "tiny/tuning.csv")
    assert table["chosen"].tolist() == [False, True]
    info = json.loads((runs / "tiny/fedavg-s0/run.json").read_text())
    assert info["scenario"]["methods"][0]["training"] == {"optimizer": {"learning_rate": 0.1}}
    assert info["origin"]["tuned"]["fedavg"]["grid"] == {RATE: [1.0e-6, 0.1]}
    assert load_runs(runs)["seed"].tolist() == [0]  # trials are no results
    assert load_runs(runs / "tiny/_tuning")[RATE].tolist() == [1.0e-6, 0.1]
    facts = dict(facts_of(load_records(runs)))
    assert facts["methods' own training"] == "fedavg: learning rate 0.1"
    assert facts["tuned"] == (
        "fedavg of learning rate 1e-06 0.1 on seeds 7; chosen by the accuracy on the validation part"
    )
    before = times_in(runs)
    code, out, _ = cli(*command)
    assert code == 0
    assert "2 of 2 runs were finished before" in out
    assert times_in(runs) == before


def test_runs_that_were_not_tuned_so_are_refused_before_anything_is_tried(cli, tuned_file, tmp_path):
    runs = tmp_path / "runs"
    path = tuned_file()
    run_sweep(load_sweep(path, may_be_one=True), Pretended(accuracies), runs=runs)
    code, _, err = cli("sweep", path, "--tune", "--runs", runs)
    assert code == 2
    assert "fedavg-s0: already holds a run that was not tuned by this grid on these seeds; pass --overwrite" in err
    assert not (runs / "tiny/_tuning").exists()


def test_the_block_changes_no_run(scenario_file, tuned_file):
    plain = load_scenario(scenario_file({"evaluate.validation": 0.1, "methods": METHODS}))
    assert load_scenario(tuned_file(), ["tune.seeds=[9]"]).digest() == plain.digest()


def test_every_shipped_block_can_be_tried(pytestconfig):
    folder: Path = pytestconfig.rootpath / "scenarios"
    shipped = {
        path.stem: sweep_of(plan_trials(load_sweep(path, may_be_one=True), path)).num_runs
        for path in sorted(folder.rglob("*.yaml"))
        if "\ntune:" in path.read_text()
    }
    assert shipped == {
        "har_subjects": 6 * 8 * 2,
        "mba_vs_asynchronous": 29 * 4 * 2,
        "mba_vs_asynchronous_watch": 29 * 4 * 2,
        "mba_vs_synchronous": (7 * 8 + 2 * 4) * 2,
        "watch_subjects": 8 * 8 * 2,
    }


REFUSED = {
    "no validation part": ({"evaluate.validation": 0.0}, "evaluate.validation: must be above 0"),
    "no training": ({"tune": {"grid": {"model.width": [8]}}}, "tune.grid.model.width: is no field of training"),
    "an unknown field": ({"tune": {"grid": {"training.epochs": [1]}}}, "unknown key 'epochs'"),
    "a wrong value": ({"tune": {"grid": {EPOCHS: [0]}}}, "methods.0.training.local_epochs", "given 0"),
    "an empty list": ({"tune": {"grid": {EPOCHS: []}}}, f"tune.grid.{EPOCHS}: list should have at least 1 item"),
    "no list": ({"tune": {"grid": {EPOCHS: 5}}}, f"tune.grid.{EPOCHS}", "given 5"),
    "nothing": ({"tune": {"seeds": [7]}}, "tune: needs a 'grid'"),
    "an unknown key": ({"tune": {**TUNE, "sead": [7]}}, "tune.sead: unknown key 'sead'", "did you mean 'seeds'?"),
    "an unknown method": ({"tune": {"methods": {"mbaa": {"beta": [1]}}}}, "the label 'mbaa'", "did you mean 'mba'?"),
    "an unknown option": ({"tune": {"methods": {"mba": {"betta": [1]}}}}, "methods.1.betta: unknown key 'betta'"),
    "no option": ({"tune": {"methods": {"mba": {"name": ["mba"]}}}}, "tune.methods.mba.name: cannot be tuned"),
    "a seed of the results": ({"tune": {**TUNE, "seeds": [3, 0]}}, "tune.seeds: 0 is a seed of the results"),
    "a seed twice": ({"tune": {**TUNE, "seeds": [3, 3]}}, "tune.seeds: a seed is given twice"),
    "a value twice": ({"tune": {"grid": {RATE: [1, 1.0]}}}, "are the same scenario"),
    "swept, too": ({"sweep": {EPOCHS: [1, 2]}}, f"the sweep varies {EPOCHS}, so {EPOCHS} cannot be tuned"),
    "the method's swept, too": ({"sweep": {"methods.mba.training.local_epochs": [1, 2]}}, "cannot be tuned, too"),
    "no end but an accuracy": ({"until": {"accuracy": 0.5}}, "until: needs 'simulated_s' or 'versions' for --tune"),
    "no block": ({"tune": None}, "tune: must be a mapping"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_tried_is_one_sentence_and_nothing_is_written(cli, tuned_file, tmp_path, case):
    changes, *said = REFUSED[case]
    code, out, err = cli("sweep", tuned_file(changes), "--tune", "--runs", tmp_path / "runs")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert all(part in err for part in ["tiny.yaml", *said]), err
    assert not (tmp_path / "runs").exists()


def test_tuning_needs_a_block_and_training(cli, scenario_file, tuned_file, tmp_path):
    code, _, err = cli("sweep", scenario_file(), "--tune", "--runs", tmp_path / "runs")
    assert (code, "tiny.yaml: has no 'tune' block" in err) == (2, True)
    code, _, err = cli("sweep", tuned_file(), "--tune", "--timing-only", "--runs", tmp_path / "runs")
    assert (code, "--timing-only: nothing is trained" in err) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_check_says_what_would_be_tried(cli, tuned_file):
    code, out, _ = cli("check", tuned_file({"until.simulated_s": 5, "methods": [{"name": "fedavg"}]}))
    assert code == 0
    assert "--tune" in out
    assert "training.local_epochs 1, 5" in " ".join(out.split())
