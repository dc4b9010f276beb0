"""The summary table against numbers worked out by hand, on run directories written by hand."""

import json
import math

import pandas as pd
import pytest

from interlude.analysis.accuracy import first_held_s
from interlude.analysis.summary import summarise_methods, summarise_runs
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.reader import SCHEMA_VERSION, RunRecord

# (client, activity, start, end, bytes, staleness): two clients, 10 s each
TIMELINE = [
    (0, "download", 0, 1, 100, None),
    (0, "wait", 1, 3, 0, None),
    (0, "train_unimodal", 3, 4, 0, None),
    (0, "train", 4, 6, 0, None),
    (0, "upload", 6, 8, 100, None),
    (0, "merge", 8, 8, 0, 0),
    (0, "idle", 8, 10, 0, None),
    (1, "download", 0, 2, 100, None),
    (1, "train", 2, 5, 0, None),
    (1, "upload", 5, 6, 40, None),
    (1, "merge", 9, 9, 0, 3),
    (1, "idle", 6, 10, 0, None),
]
FUSED, GRAY = {0: 0.1, 5: 0.6, 10: 0.5}, {0: 0.1, 5: 0.3, 10: 0.4}


@pytest.fixture
def run_directory(tmp_path):
    """Return a function that writes a run directory by hand and reads it as a record."""

    def write(label="mba", seed=0, target=None, fused=FUSED, timing_only=False, totals=(), until=None, more=()):
        path = tmp_path / f"{label}-s{seed}"
        (path / "timeline").mkdir(parents=True)
        info = {
            "schema": SCHEMA_VERSION,
            "status": "complete",
            "label": label,
            "seed": seed,
            "scenario": {"evaluate": {"target_accuracy": target}, "until": until or {}},
            "totals": {"simulated_s": 10.0, "versions": 2, **dict(totals)},
        }
        (path / "run.json").write_text(json.dumps(info))
        rows = [f"{t},0,accuracy,fused,{v}" for t, v in fused.items()] + [f"{t},0,loss,fused,2.0" for t in fused]
        rows += [f"{t},0,accuracy,gray,{v}" for t, v in GRAY.items()]
        rows += [f"{t},0,{metric},{modality},{v}" for metric, modality, values in more for t, v in values.items()]
        lines = ["time_s,version,metric,modality,value", *([] if timing_only else rows)]
        (path / "metrics.csv").write_text("\n".join(lines) + "\n")
        columns = ["client", "activity", "start_s", "end_s", "bytes", "staleness"]
        table = pd.DataFrame(TIMELINE, columns=columns).astype({"start_s": float, "end_s": float, "staleness": "Int32"})
        table[:6].to_parquet(path / "timeline/part-00000.parquet")
        table[6:].to_parquet(path / "timeline/part-00001.parquet")
        return RunRecord(path)

    return write


def test_device_seconds_bytes_and_staleness_of_a_run(run_directory):
    (row,) = summarise_runs([run_directory()]).to_dict("records")
    assert row["bytes_up"] == 140  # 100 arrived, 40 of a lost upload
    assert row["bytes_down"] == 200
    assert row["train_s"] == 6.0  # 1 + 2 + 3
    assert row["transfer_s"] == 6.0  # 1 + 2 + 2 + 1
    assert row["wait_s"] == 2.0
    assert row["idle_s"] == 6.0  # 2 + 4
    assert row["mean_staleness"] == 1.5  # 0 and 3
    assert (row["method"], row["seed"], row["simulated_s"], row["versions"]) == ("mba", 0, 10.0, 2)


def test_device_seconds_add_up_to_clients_times_time(run_directory):
    row = summarise_runs([run_directory()]).iloc[0]
    assert row[["train_s", "transfer_s", "wait_s", "idle_s"]].sum() == 2 * 10.0


def test_accuracies_are_final_best_on_the_test_and_per_modality(run_directory):
    row = summarise_runs([run_directory()]).iloc[0]
    assert (row["final_accuracy"], row["best_test_accuracy"], row["accuracy_gray"]) == (0.5, 0.6, 0.4)
    assert not {"time_to_target_s", "restricted_time_s", "best_accuracy", "validation_accuracy"} & {*row.index}


def test_final_is_the_mean_over_the_last_tenth_of_the_evaluations(run_directory):
    """Of 25 evaluations the last three: 0.22, 0.23 and 0.24."""
    curve = {time_s: time_s / 100 for time_s in range(25)}
    (row,) = summarise_runs([run_directory(fused=curve, more=[("accuracy", "color", curve)])]).to_dict("records")
    assert (row["final_accuracy"], row["accuracy_color"]) == pytest.approx((0.23, 0.23))


@pytest.mark.parametrize(
    ("until", "ended_by", "expected"),
    [
        ({}, "versions", 0.45),  # (0.1 + 0.6) / 2 x 5 + (0.6 + 0.5) / 2 x 5 = 4.5, over 10 s
        ({"simulated_s": 20, "versions": 2}, "versions", 0.45),
        ({"simulated_s": 20}, "patience_s", 0.475),  # and 0.5 x 10, over 20 s
    ],
)
def test_mean_accuracy_is_the_area_under_the_curve_over_the_horizon(run_directory, until, ended_by, expected):
    row = summarise_runs([run_directory(until=until, totals={"ended_by": ended_by})]).iloc[0]
    assert row["mean_accuracy"] == pytest.approx(expected)


def test_what_is_best_is_chosen_on_the_validation_set(run_directory):
    more = [("validation_accuracy", "fused", {0: 0.2, 5: 0.4, 10: 0.45}), ("nearest_mean_accuracy", "gray", {10: 0.7})]
    row = summarise_runs([run_directory(more=more)]).iloc[0]
    assert (row["best_accuracy"], row["validation_accuracy"], row["nearest_mean_gray"]) == (0.5, 0.45, 0.7)
    assert "best_test_accuracy" not in row


@pytest.mark.parametrize(
    ("curve", "holds_on", "expected"),
    [
        ([0.1, 0.6, 0.6, 0.7, 0.1], False, 1.0),
        ([0.6, 0.6, 0.6], False, 0.0),
        ([0.6, 0.6, 0.1, 0.6, 0.6], False, math.inf),  # two in a row, twice; a third might have followed
        ([0.1, 0.6, 0.6], True, 1.0),
        ([0.1, 0.6, 0.1], True, math.inf),
        ([0.6], False, math.inf),
    ],
)
def test_a_target_is_reached_at_the_first_of_three_evaluations_in_a_row(curve, holds_on, expected):
    assert first_held_s(pd.Series(curve, range(len(curve)), dtype=float), 0.6, holds_on=holds_on) == expected


def test_a_run_that_its_accuracy_ended_has_reached_it(run_directory):
    ended = {
        "totals": {"ended_by": "accuracy"},
        "until": {"accuracy": 0.5, "simulated_s": 99},
        "fused": {0: 0.1, 10: 0.5},
    }
    row = summarise_runs([run_directory(target=[0.5, 0.6], **ended)]).iloc[0]
    assert (row["time_to_target_s"], row["time_to_0.6_s"], row["restricted_time_to_0.6_s"]) == (10, math.inf, 99)


def test_a_timing_only_run_has_costs_and_no_accuracies(run_directory):
    summary = summarise_methods(summarise_runs([run_directory(timing_only=True, target=0.5)]))
    assert not [column for column in summary if "accuracy" in column or "target" in column]
    assert summary["bytes_up"].item() == 140


def test_interval_over_three_seeds(run_directory):
    records = [run_directory(seed=seed, fused={10: value}) for seed, value in enumerate((0.5, 0.6, 0.7))]
    row = summarise_methods(summarise_runs(records)).iloc[0]
    # t(0.975; 2) = 4.3027; deviation 0.1; 4.3027 x 0.1 / sqrt 3
    assert row["final_accuracy_ci95"] == pytest.approx(0.24841, abs=1e-4)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_fewer_than_three_seeds_have_a_mean_and_no_interval(run_directory, num_seeds):
    records = [run_directory(seed=seed, fused={10: value}) for seed, value in enumerate((0.5, 0.7)[:num_seeds])]
    row = summarise_methods(summarise_runs(records)).iloc[0]
    assert row["seeds"] == num_seeds
    assert row["final_accuracy"] == pytest.approx((0.5, 0.6)[num_seeds - 1])
    assert not [column for column in row.index if column.endswith("_ci95")]


def test_times_to_targets_are_restricted_means_over_all_seeds_and_say_how_many_reached_them(run_directory):
    """Reached at 5, 8 and 8 s by all; at 5 s by one of two, the other counts with the horizon, 10 s."""

    def run(label, seed, at_s):
        return run_directory(label, seed, target=[0.6, 0.9], fused={0: 0.1, at_s: 0.6, at_s + 0.5: 0.7, at_s + 1: 0.6})

    never = run_directory("some", 1, target=[0.6, 0.9], fused={0: 0.1, 9.5: 0.6, 10: 0.6})
    records = [run("some", 0, 5), never, *(run("all", seed, at_s) for seed, at_s in enumerate((5, 8, 8)))]
    runs = summarise_runs(records)
    assert runs["time_to_target_s"].tolist() == [5.0, math.inf, 5.0, 8.0, 8.0]
    summary = summarise_methods(runs).set_index("method")
    assert summary["reached"].to_dict() == {"some": "1/2", "all": "3/3"}
    assert summary["restricted_time_s"].to_dict() == {"some": 7.5, "all": 7.0}
    # 5, 8 and 8: deviation sqrt 3, over sqrt 3 seeds: 1 x 4.3027
    assert summary.loc["all", "restricted_time_s_ci95"] == pytest.approx(4.3027, abs=1e-4)
    assert (summary["reached_0.9"].tolist(), summary["restricted_time_to_0.9_s"].tolist()) == (["0/2", "0/3"], [10, 10])
    assert "time_to_target_s" not in summary


def test_a_run_that_diverged_gives_no_accuracy_and_reached_nothing(run_directory):
    """Means are over the other two; its time is the whole horizon, 20 s."""
    until, held = {"simulated_s": 20}, {0: 0.6, 5: 0.6, 10: 0.6}
    records = [run_directory(seed=seed, target=0.6, fused=held, until=until) for seed in (0, 1)]
    records.append(run_directory(seed=2, target=0.6, fused=held, until=until, totals={"diverged_at_s": 4.0}))
    row = summarise_methods(summarise_runs(records)).iloc[0]
    assert (row["final_accuracy"], row["mean_accuracy"], row["accuracy_gray"]) == pytest.approx((0.6, 0.6, 0.4))
    assert (row["seeds"], row["diverged"], row["reached"]) == (3, 1, "2/3")
    assert row["restricted_time_s"] == pytest.approx(20 / 3)
    assert math.isnan(row["final_accuracy_ci95"])  # two values have no interval


def test_methods_keep_their_order(run_directory):
    records = [run_directory(label) for label in ("mba", "fedavg", "aardvark")]
    assert summarise_methods(summarise_runs(records))["method"].tolist() == ["mba", "fedavg", "aardvark"]


@pytest.mark.parametrize("text", [None, "{", "\x00"])
def test_a_directory_that_is_not_a_run_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadInputError, match="is not a run directory") as caught:
        RunRecord(tmp_path)
    assert str(tmp_path) in str(caught.value)
