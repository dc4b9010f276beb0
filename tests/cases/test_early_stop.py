"""Runs that an accuracy, patience or a Python caller ends: complete, with the reason in the record."""

import pytest

from interlude import BadInputError, Callback, parse_scenario, run_scenario
from interlude.simulator.cli.main import main
from interlude.simulator.errors import CannotRunError

LEARNS = {"evaluate": {"every_s": 5}, "training.optimizer.learning_rate": 0.3, "methods": [{"name": "fedasync"}]}


@pytest.fixture(scope="module")
def whole(scenario_with, tmp_path_factory):
    """A run of 60 simulated seconds that nothing ends early, and its fused accuracies by time."""
    (record,) = run_scenario(
        parse_scenario(scenario_with({**LEARNS, "until": {"simulated_s": 60}})),
        runs=tmp_path_factory.mktemp("whole"),
        device="cpu",
        workers=1,
    )
    metrics = record.metrics
    return record, metrics[(metrics.metric == "accuracy") & (metrics.modality == "fused")].set_index("time_s").value


def played(scenario_with, runs, until, **options):
    given = scenario_with({**LEARNS, "until": until})
    (record,) = run_scenario(parse_scenario(given), runs=runs, device="cpu", workers=1, **options)
    return record


def test_a_run_without_early_stop_names_the_bound_that_ended_it(whole):
    assert whole[0].info["totals"]["ended_by"] == "simulated_s"


def test_an_accuracy_ends_a_run_at_its_first_evaluation(whole, scenario_with, tmp_path):
    record, curve = whole
    wanted = curve.iloc[4]
    first_s = curve.index[curve >= wanted][0]
    ended = played(scenario_with, tmp_path, {"simulated_s": 60, "accuracy": float(wanted)})
    assert (ended.info["status"], ended.info["totals"]["ended_by"]) == ("complete", "accuracy")
    assert ended.info["totals"]["simulated_s"] == first_s
    expected = record.metrics[record.metrics.time_s <= first_s].reset_index(drop=True)
    assert ended.metrics.equals(expected)
    assert ended.timeline.end_s.max() == first_s


def test_an_accuracy_may_be_a_modalitys_alone_and_the_only_end(scenario_with, tmp_path):
    ended = played(scenario_with, tmp_path, {"accuracy": 0.12, "modality": "color"})
    alone = ended.metrics.query("metric == 'accuracy' and modality == 'color'").value
    assert alone.iloc[-1] >= 0.12
    assert (alone.iloc[:-1] < 0.12).all()


def test_patience_ends_a_run_that_gets_no_better(scenario_with, tmp_path):
    """A learning rate of nearly nothing: the first evaluation, at 0 s, remains the best."""
    given = scenario_with({**LEARNS, "training.optimizer.learning_rate": 1e-12, "until": {"patience_s": 20}})
    (ended,) = run_scenario(parse_scenario(given), runs=tmp_path, device="cpu", workers=1)
    assert ended.info["totals"]["ended_by"] == "patience_s"
    assert ended.info["totals"]["simulated_s"] == 20


def test_whichever_bound_is_first_ends_the_run(scenario_with, tmp_path):
    ended = played(scenario_with, tmp_path, {"versions": 3, "accuracy": 1.0, "patience_s": 1e6})
    assert ended.info["totals"]["ended_by"] == "versions"
    assert ended.info["totals"]["versions"] == 3


def test_a_python_caller_ends_a_run_as_complete(scenario_with, tmp_path):
    seen = []

    def stop(evaluated):
        seen.append((evaluated.time_s, evaluated.accuracy["fused"]))
        return evaluated.time_s >= 15

    ended = played(scenario_with, tmp_path, {"simulated_s": 60}, on_evaluation=stop)
    assert (ended.info["status"], ended.info["totals"]["ended_by"]) == ("complete", "callback")
    curve = ended.metrics.query("metric == 'accuracy' and modality == 'fused'")
    assert seen == list(zip(curve.time_s, curve.value, strict=True))
    assert [time_s for time_s, _ in seen] == [0, 5, 10, 15]
    with pytest.raises(BadInputError, match="on_evaluation ended early"):
        played(scenario_with, tmp_path, {"simulated_s": 60})


def test_what_cannot_end_a_run_is_refused(scenario_with, tmp_path):
    with pytest.raises(BadInputError, match="needs one of 'simulated_s', 'versions', 'accuracy', 'patience_s'"):
        parse_scenario(scenario_with({"until": {"modality": "color"}}))
    with pytest.raises(CannotRunError, match=r"until\.modality: unknown modality 'colour'; .* did you mean 'color'"):
        played(scenario_with, tmp_path, {"accuracy": 0.5, "modality": "colour"})
    with pytest.raises(CannotRunError, match="timing-only run, so no accuracy ends it"):
        played(scenario_with, tmp_path, {"accuracy": 0.5}, timing_only=True)


def test_check_run_and_report_name_the_ends(scenario_file, tmp_path, capsys):
    def said(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert not stopped.value.code
        return capsys.readouterr().out

    path = scenario_file({**LEARNS, "until": {"accuracy": 0.12, "modality": "color"}})
    checked = said("check", path)
    assert "each until an accuracy of color of 0.12" in checked
    assert "unknown" in checked
    ran = said("run", path, "--runs", tmp_path / "runs", "--device", "cpu")
    assert "ended early" in ran
    assert "the accuracy was reached" in ran
    said("report", tmp_path / "runs")


class Seen(Callback):
    """Notes what it is told, and ends the run at 15 s."""

    def __init__(self):
        self.times_s, self.merges = [], []

    def on_evaluation(self, evaluated):
        self.times_s.append(evaluated.time_s)
        return evaluated.time_s >= 15

    def on_merge(self, merged):
        self.merges.append((merged.time_s, merged.version, merged.staleness[0]))


def test_callbacks_are_told_of_evaluations_and_merges_and_may_end_a_run(scenario_with, tmp_path):
    first, second = Seen(), Seen()
    ended = played(scenario_with, tmp_path, {"simulated_s": 60}, callbacks=[first, second])
    assert ended.info["totals"]["ended_by"] == "callback"
    assert first.times_s == second.times_s == [0, 5, 10, 15]
    merges = ended.timeline[ended.timeline.activity == "merge"]
    expected = list(zip(merges.end_s, merges.version, zip(merges.client, merges.staleness, strict=True), strict=True))
    assert first.merges == expected


def test_a_callback_that_hears_of_merges_only_changes_nothing(whole, scenario_with, tmp_path):
    class Merges(Callback):
        versions = 0

        def on_merge(self, merged):
            self.versions = merged.version

    told = Merges()
    record = played(scenario_with, tmp_path, {"simulated_s": 60}, callbacks=[told])
    assert told.versions == record.info["totals"]["versions"] > 0
    assert record.metrics.equals(whole[0].metrics)
