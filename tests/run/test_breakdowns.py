"""What a run does when values, memory or the disk give out."""

import re
import resource
import sys

import pandas as pd
import pytest
import torch
import yaml

from interlude import RunRecord, TrainingError, parse_scenario, run_scenario
from interlude.simulator.cli.main import main
from interlude.simulator.errors import RecordError
from interlude.simulator.run.interruption import ResumePolicy
from interlude.simulator.training.stacked.trainer import StackedTrainer

POISONED = """
from dataclasses import dataclass
from typing import Literal
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions
from interlude.simulator.training.objective import CrossEntropy

@dataclass(frozen=True)
class Steep(CrossEntropy):
    def loss(self, *given):
        return 1e38 * super().loss(*given)

class Options(FedAvgOptions):
    name: Literal["poisoned:Poisoned"] = "poisoned:Poisoned"
    label: str | None = "poisoned"

class Poisoned(FedAvg):
    Options = Options

    def objective(self, client, ready):
        return Steep(ready.modalities) if client.client == 1 else super().objective(client, ready)
"""

EXPLODING = """
from typing import Literal
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions

class Options(FedAvgOptions):
    name: Literal["exploding:Exploding"] = "exploding:Exploding"
    sound: tuple[int, ...] = ()

class Exploding(FedAvg):
    Options = Options

    def initial_memory(self, network, num_clients):
        return 0, None  # versions so far, and version 0

    def advance(self, model, memory, updates):
        version, initial = memory[0] + 1, memory[1] or dict(model)
        factor = 1.0 if version in self.options.sound else 1e6
        return {name: factor * value for name, value in initial.items()}, (version, initial)
"""

RULES = {
    "barrier": {"rule": "barrier"},
    "on_arrival": {"rule": "on_arrival"},
    "buffered": {"rule": "buffered", "size": 2},
}


@pytest.fixture
def poisoned(tmp_path, monkeypatch, wild):
    """Return a function to a scenario in which whatever client 1 learns is NaN."""
    (tmp_path / "poisoned.py").write_text(POISONED)
    monkeypatch.syspath_prepend(str(tmp_path))

    def scenario(rule, policy, kind):
        training = {**wild()["training"], "on_divergence": policy}
        method = {"name": "poisoned:Poisoned", "server": RULES[rule]}
        return wild(method, training=training, executor={"kind": kind}, until={"simulated_s": 24})

    yield scenario
    sys.modules.pop("poisoned", None)


@pytest.mark.parametrize("rule", RULES)
def test_an_update_with_nan_can_be_left_out_and_is_counted(poisoned, tmp_path, stopped_and_resumed, files_of, rule):
    records = {
        kind: stopped_and_resumed(poisoned(rule, "reject", kind), tmp_path / kind) for kind in ("auto", "sequential")
    }
    for kind, record in records.items():
        totals = record.info["totals"]
        assert totals["rejected_updates"] >= 1
        assert record.metrics["value"].notna().all()
        assert 1 not in set(record.timeline.query("activity == 'merge'")["client"])
        assert totals["versions"] >= 2
        again = stopped_and_resumed(poisoned(rule, "reject", kind), tmp_path / f"{kind}-2", totals["events"] // 2)
        assert files_of(again) == files_of(record)
        assert again.info["totals"]["rejected_updates"] == totals["rejected_updates"]
    assert len({record.info["totals"]["order_sha256"] for record in records.values()}) == 1


@pytest.mark.parametrize("kind", ["auto", "sequential"])
def test_an_update_with_nan_ends_a_run_unless_it_may_be_left_out(poisoned, tmp_path, kind):
    with pytest.raises(TrainingError, match=r"the training loss of client 1, .* is (nan|inf)"):
        run_scenario(parse_scenario(poisoned("barrier", "stop", kind)), runs=tmp_path / "runs", device="cpu")


def test_beside_a_run_that_diverges_the_others_run_and_the_table_names_it(poisoned, tmp_path, capsys):
    given = poisoned("barrier", "stop", "auto")
    given["methods"].append({"name": "fedavg"})
    (tmp_path / "wild.yaml").write_text(yaml.safe_dump(given))
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(tmp_path / "wild.yaml"), "--runs", str(tmp_path / "runs"), "--device", "cpu"])
    said = capsys.readouterr()
    assert stopped.value.code == 1
    assert re.search(r"poisoned-s\d+: diverged: the training loss of client 1, .* is (nan|inf)", said.err)
    assert re.search(r"poisoned +\(diverged\)", said.out)
    summary = pd.read_csv(tmp_path / "runs/wild/summary.csv").set_index("method")
    assert summary["diverged"].to_dict() == {"poisoned": 1, "fedavg": 0}
    assert summary["final_accuracy"].isna().to_dict() == {"poisoned": True, "fedavg": False}


def test_a_run_of_which_every_update_is_rejected_ends_in_time_with_version_0(wild, tmp_path):
    training = {"on_divergence": "reject", "optimizer": {"learning_rate": 1e30}, "batch_size": 16, "window_samples": 48}
    for entry in ("bmsfed", "fedmchain", "pow-d", "divfl"):
        method = {"name": entry, "server": {"clients_per_round": 2}, **({"candidates": 3} if entry == "pow-d" else {})}
        given = wild(method, training=training, until={"simulated_s": 16})
        (record,) = run_scenario(parse_scenario(given), runs=tmp_path, device="cpu", workers=1)
        assert record.info["totals"]["versions"] == 0
        assert record.info["totals"]["rejected_updates"] > 0


def test_a_run_is_named_diverged_from_where_it_stays_so(tmp_path, monkeypatch, wild, stopped_and_resumed, files_of):
    (tmp_path / "exploding.py").write_text(EXPLODING)
    monkeypatch.syspath_prepend(str(tmp_path))
    until = {"versions": 4}

    def ran(where, sound, *events):
        method = {"name": "exploding:Exploding", "label": "exploding", "sound": sound}
        training = {**wild()["training"], "optimizer": {"learning_rate": 1e-30}}
        return stopped_and_resumed(wild(method, until=until, training=training), tmp_path / where, *events)

    record = ran("end", (1, 3))  # version 2 explodes as well, and is forgiven
    losses = record.metrics.query("metric == 'loss'").groupby("version")["value"].max()
    assert losses[2] > 100 > losses[3]
    diverged_at_s = record.info["totals"]["diverged_at_s"]
    assert diverged_at_s == record.metrics.query("version == 4")["time_s"].min()
    resumed = ran("resumed", (1, 3), record.info["totals"]["events"] - 2)
    assert resumed.info["totals"]["diverged_at_s"] == diverged_at_s
    assert files_of(resumed) == files_of(record)
    assert ran("sound", (1, 3, 4)).info["totals"]["diverged_at_s"] is None
    sys.modules.pop("exploding", None)


def test_a_group_that_memory_has_no_room_for_is_split_and_that_is_noted_once(
    wild, tmp_path, monkeypatch, stopped_and_resumed, files_of
):
    given = parse_scenario(wild({"name": "fedavg"}, clients={"count": 7}, until={"versions": 2}))
    (roomy,) = run_scenario(given, runs=tmp_path / "roomy", device="cpu", workers=1)
    train, sizes = StackedTrainer.train, []

    def cramped(self, chains):
        if len(chains) > 3:
            raise torch.cuda.OutOfMemoryError("out of memory")
        sizes.append(len(chains))
        return train(self, chains)

    monkeypatch.setattr(StackedTrainer, "train", cramped)
    (record,) = run_scenario(given, runs=tmp_path / "cramped", device="cpu", workers=1)
    assert max(sizes) <= 3
    assert record.info["totals"]["notes"] == ["memory ran out for 4 clients at a time, so groups were split"] or (
        len(record.info["totals"]["notes"]) == 1
    )
    assert record.info["totals"]["order_sha256"] == roomy.info["totals"]["order_sha256"]
    assert abs(record.metrics["value"] - roomy.metrics["value"]).max() < 1e-3
    last = record.info["totals"]["events"]
    resumed = stopped_and_resumed(given.resolved(), tmp_path / "resumed", last - 2)
    assert resumed.info["totals"]["notes"] == record.info["totals"]["notes"]
    assert files_of(resumed) == files_of(record)


def test_memory_that_has_no_room_for_one_client_is_a_sentence(wild, tmp_path, monkeypatch):
    def cramped(self, chains):
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(StackedTrainer, "train", cramped)
    with pytest.raises(TrainingError, match="memory ran out in the training of client"):
        run_scenario(parse_scenario(wild({"name": "fedavg"})), runs=tmp_path, device="cpu", workers=1)


@pytest.mark.parametrize("what", ["metrics.csv", "timeline", "checkpoint"])
def test_on_a_full_disk_a_run_stops_with_a_sentence_and_its_record_is_whole(wild, tmp_path, files_of, what):
    """A limit on the size of files stands in for the disk."""
    every_s, clients, saved_every_s, until_s = {
        "metrics.csv": (0.05, 4, 0.0, 12),
        "timeline": (4.0, 20, 0.0, 60),
        "checkpoint": (100.0, 4, 1e-3, 600),  # long enough that it is saved before the timeline is written
    }[what]
    given = wild({"name": "fedasync"}, clients={"count": clients}, evaluate={"every_s": every_s, "samples": 10})
    given["until"] = {"simulated_s": until_s}
    scenario = parse_scenario(given)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, before[1]))
    try:
        with pytest.raises(RecordError, match=rf"{what}.*: cannot be written: File too large; everything written"):
            run_scenario(
                scenario,
                runs=tmp_path,
                device="cpu",
                workers=1,
                timing_only=what == "timeline",
                policy=ResumePolicy(checkpoint_every_s=saved_every_s),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    record = RunRecord(tmp_path / "wild" / "fedasync-s3")
    assert record.info["status"] == "failed"
    assert "cannot be written" in record.info["error"]
    assert not [path for path in record.path.rglob(".*") if path.is_file()]
    text = (record.path / "metrics.csv").read_text()
    assert text.endswith("\n")
    assert {line.count(",") for line in text.splitlines()} == {4}
    for part in (record.path / "timeline").glob("*.parquet"):
        pd.read_parquet(part)
    (whole,) = run_scenario(
        scenario,
        runs=tmp_path,
        device="cpu",
        workers=1,
        timing_only=what == "timeline",
        policy=ResumePolicy(resume=True, checkpoint_every_s=0.0),
    )
    assert (whole.path / "metrics.csv").read_text().startswith(text[: text.rindex("\n") // 2])
