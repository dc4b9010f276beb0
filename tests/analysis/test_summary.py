"""The summary table against numbers worked out by hand, on run directories written by hand."""

import json
import math

import pandas as pd
import pytest

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

    def write(label="mba", seed=0, target=None, fused=FUSED, timing_only=False):
        path = tmp_path / f"{label}-s{seed}"
        (path / "timeline").mkdir(parents=True)
        info = {
            "schema": SCHEMA_VERSION,
            "status": "complete",
            "label": label,
            "seed": seed,
            "scenario": {"evaluate": {"target_accuracy": target}},
            "totals": {"simulated_s": 10.0, "versions": 2},
        }
        (path / "run.json").write_text(json.dumps(info))
        rows = [f"{t},0,accuracy,fused,{v}" for t, v in fused.items()] + [f"{t},0,loss,fused,2.0" for t in fused]
        rows += [f"{t},0,accuracy,gray,{v}" for t, v in GRAY.items()]
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


def test_accuracies_are_final_best_and_per_modality(run_directory):
    row = summarise_runs([run_directory()]).iloc[0]
    assert (row["final_accuracy"], row["best_accuracy"], row["accuracy_gray"]) == (0.5, 0.6, 0.4)
    assert "time_to_target_s" not in row  # no target, no time to it


@pytest.mark.parametrize(("target", "expected"), [(0.1, 0.0), (0.55, 5.0), (0.6, 5.0), (0.61, math.inf)])
def test_time_to_target_is_the_first_time_or_infinite_where_it_is_censored(run_directory, target, expected):
    assert summarise_runs([run_directory(target=target)]).iloc[0]["time_to_target_s"] == expected


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


def test_time_to_target_is_the_mean_over_the_runs_that_reached_it_and_says_how_many(run_directory):
    never = {0: 0.1, 10: 0.2}
    records = [
        *(run_directory("some", 0, target=0.6), run_directory("some", 1, target=0.6, fused=never)),
        *(run_directory("none", seed, target=0.6, fused=never) for seed in (0, 1)),
        *(run_directory("all", seed, target=0.6, fused={0: 0.1, at_s: 0.6}) for seed, at_s in enumerate((5, 8, 8))),
    ]
    summary = summarise_methods(summarise_runs(records)).set_index("method")
    assert summary["reached"].to_dict() == {"some": "1/2", "none": "0/2", "all": "3/3"}
    assert summary.loc["some", "time_to_target_s"] == 5.0
    assert math.isnan(summary.loc["none", "time_to_target_s"])
    assert summary.loc["all", "time_to_target_s"] == 7.0
    # 5, 8 and 8: deviation sqrt 3, over sqrt 3 seeds: 1 x 4.3027
    assert summary.loc["all", "time_to_target_s_ci95"] == pytest.approx(4.3027, abs=1e-4)


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
