"""Runs with a validation part: what is recorded of it, and that it decides in place of the test set."""

import numpy as np
import pytest
from safetensors.torch import load_file

from interlude import parse_scenario, run_scenario
from interlude.simulator.cli.main import main
from interlude.simulator.data.dataset import selected
from interlude.simulator.run.build import build_testbed
from interlude.simulator.training.evaluation import EvaluationSets, evaluate

LEARNS = {
    "evaluate": {"every_s": 5, "validation": 0.2, "nearest_mean_samples": 10_000},
    "training.optimizer.learning_rate": 0.3,
    "methods": [{"name": "fedasync"}],
}


@pytest.fixture(scope="module")
def whole(scenario_with, tmp_path_factory):
    """A run with a validation part, and its testbed."""
    scenario = parse_scenario(scenario_with(LEARNS))
    (record,) = run_scenario(scenario, runs=tmp_path_factory.mktemp("whole"), device="cpu", workers=1)
    return record, build_testbed(scenario)


def curve(record, metric):
    return record.metrics.query("metric == @metric and modality == 'fused'").set_index("time_s").value


def test_a_fifth_of_the_training_samples_is_evaluated_and_no_clients(whole):
    record, testbed = whole
    part = testbed.validation
    assert len(part) == 269  # of 1,347
    assert record.partition["count"].sum() == 1347 - 269
    model = load_file(record.path / "model.safetensors")
    held_out = selected(testbed.dataset.train, part)
    rest = selected(testbed.dataset.train, np.setdiff1d(np.arange(1347), part))
    on_test = evaluate(testbed.network, model, EvaluationSets(testbed.dataset.test, held_out, rest))
    on_part = evaluate(testbed.network, model, EvaluationSets(held_out))
    last = record.metrics[record.metrics.time_s == 30]
    found = {metric: dict(zip(rows.modality, rows.value, strict=True)) for metric, rows in last.groupby("metric")}
    assert found["accuracy"] == on_test.accuracy
    assert found["validation_accuracy"] == on_part.accuracy
    assert found["validation_loss"] == {"fused": pytest.approx(on_part.loss)}
    assert found["nearest_mean_accuracy"] == on_test.nearest_mean_accuracy
    assert on_test.nearest_mean_accuracy.keys() == {"gray", "color"}


def test_its_accuracy_ends_a_run_and_not_that_of_the_test_set(whole, scenario_with, tmp_path):
    record, _ = whole
    held_out, test = curve(record, "validation_accuracy"), curve(record, "accuracy")
    first_s = {wanted: held_out.index[held_out >= wanted][0] for wanted in held_out if wanted > 0}
    differs = {wanted: at_s for wanted, at_s in first_s.items() if [*test.index[test >= wanted], None][0] != at_s}
    wanted, at_s = differs.popitem()
    given = scenario_with({**LEARNS, "until": {"simulated_s": 30, "accuracy": wanted}})
    seen = []
    (ended,) = run_scenario(parse_scenario(given), runs=tmp_path, device="cpu", workers=1, on_evaluation=seen.append)
    assert (ended.info["totals"]["ended_by"], ended.info["totals"]["simulated_s"]) == ("accuracy", at_s)
    assert [now.validation_accuracy["fused"] for now in seen] == held_out[:at_s].tolist()


def test_a_check_says_how_many_samples_it_has(scenario_file, capsys):
    with pytest.raises(SystemExit):
        main(["check", str(scenario_file({"evaluate.validation": 0.2}))])
    assert "1347 training (269 of them the validation part), 450 test samples" in capsys.readouterr().out


def test_whether_a_run_diverged_is_decided_on_it_and_not_on_the_test_set(scenario_with, tmp_path, monkeypatch):
    losses = []
    monkeypatch.setattr("interlude.simulator.run.observer.has_diverged", lambda loss, _: losses.append(loss))
    scenario = parse_scenario(scenario_with({**LEARNS, "until": {"simulated_s": 5}}))
    (record,) = run_scenario(scenario, runs=tmp_path, device="cpu", workers=1)
    assert losses == pytest.approx(curve(record, "validation_loss").tolist())
    assert losses != pytest.approx(curve(record, "loss").tolist())
