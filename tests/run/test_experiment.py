"""Runs from Python: what a user's script sees."""

import json
import re
import sys

import pytest
import torch

from interlude import BadInputError, RunRecord, TrainingError, load_scenarios, parse_scenario, run_scenario
from interlude.simulator.federation.accounting import invariants
from interlude.simulator.record.reader import with_other_seeds
from interlude.simulator.scenario.documents import load_documents
from interlude.simulator.sweep import load_sweep

SCENARIO = {
    "name": "small",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 4},
    "world": {
        "arrival": {
            "gray": {"per_client": {"distribution": "uniform", "low_s": 1.0, "high_s": 3.0}},
            "color": {"per_client": {"distribution": "uniform", "low_s": 1.0, "high_s": 3.0}},
        },
        "compute": {"throughput_gflops": 0.05},
        "network": {"uplink_mbps": 2, "downlink_mbps": 8, "latency_ms": 50},
    },
    "training": {"optimizer": {"learning_rate": 0.05}},
    "methods": [{"name": "fedasync"}],
    "until": {"simulated_s": 12},
    "evaluate": {"every_s": 4},
}

READ_FILES = ("bmsfed_cgmnist", "har_subjects", "mba_readings_har", "phones")


def test_three_lines_give_frames(tmp_path):
    (record,) = run_scenario(parse_scenario(SCENARIO), runs=tmp_path)
    assert record.is_complete
    assert sorted(record.metrics["time_s"].unique()) == [0.0, 4.0, 8.0, 12.0]
    assert {"accuracy", "loss"} <= set(record.metrics["metric"])
    assert set(record.timeline["activity"]) >= {"download", "wait", "train", "upload", "merge"}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_record(tmp_path):
    scenario = parse_scenario({**SCENARIO, "training": {"optimizer": {"learning_rate": 1e30}}})
    with pytest.raises(TrainingError, match=r"the training loss of client \d+, local round \d+"):
        run_scenario(scenario, runs=tmp_path)
    record = RunRecord(tmp_path / "small" / "fedasync-s0")
    assert record.info["status"] == "failed"
    assert "training loss of client" in record.info["error"]
    assert record.info["totals"]["diverged_at_s"] is not None
    assert len(record.timeline) > 0
    assert len(record.metrics) > 0


def test_versions_can_end_a_run(tmp_path):
    scenario = parse_scenario({**SCENARIO, "until": {"versions": 3}})
    (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True)
    assert record.info["totals"]["versions"] == 3
    assert record.timeline["end_s"].max() == record.info["totals"]["simulated_s"]


def test_training_takes_the_time_of_its_flops_and_of_the_operations_it_starts(tmp_path):
    compute = {"throughput_gflops": 0.05, "operations": {"flops_each": 1e5, "per_task": 7}}
    given = {**SCENARIO, "world": {**SCENARIO["world"], "compute": compute}, "methods": [{"name": "mba"}]}
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path, timing_only=True)
    spans = record.timeline
    spans = spans[spans["activity"].isin(["train", "train_unimodal"]) & (spans["end_s"] < 12)]
    operations = ((spans["end_s"] - spans["start_s"]) * 0.05e9 - spans["flops"]) / 1e5 - 7
    assert operations.to_numpy() == pytest.approx(operations.round().to_numpy(), abs=1e-4)
    most = operations.groupby(spans["activity"]).max()
    assert most["train"] > most["train_unimodal"] > 30


def test_streams_with_misses_feed_every_method(tmp_path):
    stream = {"kind": "stream", "sample_period_s": 0.05, "transfer_s": 0.2, "miss_probability": 0.3}
    arrival = {"gray": {**stream, "on_miss": "absent"}, "color": {**stream, "on_miss": "absent", "queue_windows": 2}}
    methods = [{"name": "fedavg"}, {"name": "fedasync"}, {"name": "fedbuff", "server": {"size": 2}}, {"name": "mba"}]
    given = {
        **SCENARIO,
        "world": {**SCENARIO["world"], "arrival": arrival},
        "training": {"window_samples": 40, "optimizer": {"learning_rate": 0.05}},
        "methods": methods,
    }
    records = run_scenario(parse_scenario(given), runs=tmp_path)
    assert all((record.timeline["activity"] == "merge").any() for record in records)


def test_a_method_of_the_users_own_is_named_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "my_method.py").write_text(
        "from typing import Literal\n"
        "from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions\n"
        "class Options(FedAvgOptions):\n"
        "    name: Literal['my_method:Mine'] = 'my_method:Mine'\n"
        "    label: str | None = 'mine'\n"
        "class Mine(FedAvg):\n"
        "    Options = Options\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_method", raising=False)
    scenario = parse_scenario({**SCENARIO, "methods": [{"name": "my_method:Mine"}]})
    (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True)
    assert record.label == "mine"


def test_a_finished_run_is_reused_and_another_is_never_overwritten_silently(tmp_path):
    scenario = parse_scenario(SCENARIO)
    run_scenario(scenario, runs=tmp_path, timing_only=True)
    info = tmp_path / "small" / "fedasync-s0" / "run.json"
    written = info.stat().st_mtime_ns
    run_scenario(scenario, runs=tmp_path, timing_only=True)
    assert info.stat().st_mtime_ns == written
    other = parse_scenario({**SCENARIO, "until": {"simulated_s": 5}})
    with pytest.raises(BadInputError, match="another scenario"):
        run_scenario(other, runs=tmp_path, timing_only=True)
    run_scenario(other, runs=tmp_path, timing_only=True, overwrite=True)
    assert json.loads(info.read_text())["totals"]["simulated_s"] == 5.0


def test_a_run_is_not_taken_for_finished_when_a_file_it_reads_has_changed(tmp_path):
    trace = tmp_path / "delays.csv"
    trace.write_text("delay_s\n1\n2\n")
    empirical = {"per_client": {"distribution": "empirical", "file": str(trace), "column": "delay_s"}}
    arrival = {**SCENARIO["world"]["arrival"], "gray": empirical}
    given = {**SCENARIO, "world": {**SCENARIO["world"], "arrival": arrival}}
    run_scenario(parse_scenario(given), runs=tmp_path / "runs", timing_only=True)
    trace.write_text("delay_s\n1\n9\n")
    with pytest.raises(BadInputError, match="already holds a run"):
        run_scenario(parse_scenario(given), runs=tmp_path / "runs", timing_only=True)


def test_a_run_that_breaks_an_invariant_is_recorded_as_failed(tmp_path, monkeypatch):
    def broken(*_):
        raise invariants.BrokenInvariantError("time ran backwards")

    monkeypatch.setattr(invariants.Audit, "finish", broken)
    with pytest.raises(invariants.BrokenInvariantError):
        run_scenario(parse_scenario(SCENARIO), runs=tmp_path, timing_only=True)
    assert RunRecord(tmp_path / "small" / "fedasync-s0").info["status"] == "failed"


def test_runs_of_other_seeds_join_a_summary_and_other_scenarios_do_not(tmp_path):
    for seed in (0, 1):
        records = run_scenario(parse_scenario({**SCENARIO, "seed": seed}), runs=tmp_path, timing_only=True)
    longer = {**SCENARIO, "seed": 2, "until": {"simulated_s": 13}}
    run_scenario(parse_scenario(longer), runs=tmp_path, timing_only=True)
    assert [record.seed for record in with_other_seeds(records)] == [0, 1]


def test_the_method_of_the_documentation_runs(tmp_path, pytestconfig, monkeypatch):
    page = (pytestconfig.rootpath / "docs" / "own-code.md").read_text()
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "class HalfAsync(" in block)
    (tmp_path / "half_async.py").write_text(block)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "half_async", raising=False)
    scenario = parse_scenario({**SCENARIO, "methods": [{"name": "half_async:HalfAsync"}]})
    (record,) = run_scenario(scenario, runs=tmp_path)
    assert record.label == "HalfAsync"


def test_an_unknown_device_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(BadInputError, match="auto, cpu, cuda"):
        run_scenario(parse_scenario(SCENARIO), runs=tmp_path, device="tpu")
    assert list(tmp_path.iterdir()) == []


def test_every_shipped_scenario_is_valid(pytestconfig):
    for path in sorted((pytestconfig.rootpath / "scenarios").rglob("*.yaml")):
        try:
            is_sweep = load_documents(path).sweep is not None
            scenarios = load_sweep(path).scenarios if is_sweep else load_scenarios(path)
        except BadInputError:  # its data or traces are files of the user's
            if not path.stem.startswith(READ_FILES):
                raise
            continue
        assert all(scenario.name.startswith(path.stem) for scenario in scenarios)


def test_variants_are_scenarios_of_their_own(tmp_path):
    path = tmp_path / "two.yaml"
    variants = {"early": {"world.arrival.gray.per_client.low_s": 0.5}, "many": {"clients.count": 6}}
    path.write_text(json.dumps({**SCENARIO, "variants": variants}))
    early, many = load_scenarios(path, ["seed=3"])
    assert (early.name, many.name) == ("small-early", "small-many")
    assert early.resolved()["world"]["arrival"]["gray"]["per_client"]["low_s"] == 0.5
    assert (early.clients.count, many.clients.count) == (4, 6)
    assert early.seed == many.seed == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_and_cpu_agree_on_events_and_nearly_on_accuracy(tmp_path):
    scenario = parse_scenario({**SCENARIO, "methods": [{"name": "mba"}]})
    (on_cpu,) = run_scenario(scenario, runs=tmp_path / "cpu", device="cpu")
    (on_cuda,) = run_scenario(scenario, runs=tmp_path / "cuda", device="cuda")
    assert on_cpu.info["totals"]["order_sha256"] == on_cuda.info["totals"]["order_sha256"]
    cpu, cuda = (r.metrics.query("metric == 'accuracy'")["value"].to_numpy() for r in (on_cpu, on_cuda))
    assert abs(cpu - cuda).max() < 0.05
