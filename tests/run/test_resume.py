"""A run that is stopped and resumed has the bytes of an undisturbed one."""

import random
import threading
from pathlib import Path

import pytest
from every_method import EVERY_METHOD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlude import parse_scenario, run_scenario
from interlude.simulator.errors import BadInputError, InterludeError
from interlude.simulator.run.interruption import ResumePolicy

ENTRIES = {
    **EVERY_METHOD,
    "barrier": {"name": "fedavg", "server": {"clients_per_round": 2, "over_selection": 1.5, "deadline_s": 3.0}},
    "buffered": {"name": "mba", "server": {"rule": "buffered", "size": 3}},
    "on_arrival": {
        "name": "mba",
        "distance": "prediction",
        "late_term": True,
        "imbalance_acts": "both",
        "server": {"concurrency": 3},
    },
    "bmsfed-2": {"name": "bmsfed", "server": {"clients_per_round": 2}, "chi": 1.0, "measures": "held"},
    "divfl-2": {"name": "divfl", "server": {"clients_per_round": 2}},
    "pow-d-2": {"name": "pow-d", "server": {"clients_per_round": 2}, "candidates": 3},
    "fedcmi-own": {"name": "fedcmi", "personalised_branch": True},
    "fedmchain-2": {"name": "fedmchain", "pipelined": True},
    "fedproto-2": {"name": "fedproto", "form": "balanced"},
    "pisces-2": {"name": "pisces", "server": {"size": 1, "concurrency": 2}},
    "port-2": {
        "name": "port",
        "server": {"size": 2, "max_staleness": 1},
        "training": {"local_epochs": 4},
    },
}
FAILURES = {
    "policy lose": {
        "availability": {"kind": "markov", "mean_on_s": 6, "mean_off_s": 2, "policy": "lose"},
        "faults": {"crash_probability": 0.1, "upload_loss": {"probability": 0.3, "backoff_s": 0.2}},
        "energy": {
            "train_w": 4,
            "radio_w": 2,
            "idle_w": 1,
            "battery": {"capacity_j": 12, "charge_w": 2, "reserve": 0.5},
        },
    },
    "policy pause, shared link": {
        "availability": {"kind": "markov", "mean_on_s": 6, "mean_off_s": 2, "policy": "pause"},
        "faults": {"outages": {"kind": "windows", "windows_s": [[2, 3]]}},
        "network": {
            "uplink_mbps": 0.1,
            "downlink_mbps": 0.2,
            "latency_ms": 50,
            "jitter_sigma": 0.2,
            "shared_link": {"uplink_mbps": 0.15, "downlink_mbps": 0.3},
        },
    },
}


@pytest.mark.parametrize("kind", ["auto", "sequential"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_method_goes_on_where_it_was(wild, tmp_path, stopped_and_resumed, files_of, entry, kind):
    scenario = wild(ENTRIES[entry], until={"simulated_s": 9}, executor={"kind": kind})
    calm = stopped_and_resumed(scenario, tmp_path / "calm")
    moments = random.Random(f"{entry}-{kind}")
    last = calm.info["totals"]["events"]
    first = moments.randrange(1, last - 1)
    stormy = stopped_and_resumed(scenario, tmp_path / "stormy", first, moments.randrange(first + 1, last))
    assert files_of(stormy) == files_of(calm)
    assert {"metrics.csv", "model.safetensors"} <= files_of(calm).keys()
    totals = [{key: value for key, value in run.info["totals"].items() if key != "host_s"} for run in (stormy, calm)]
    assert totals[0] == totals[1]


@pytest.mark.parametrize("failures", FAILURES)
@pytest.mark.parametrize(
    "entry", ["mba", "fedmchain", "fedproto-2", "bmsfed-2", "port-2", "fedasmu", "buffered", "barrier"]
)
def test_a_run_in_a_world_that_fails_goes_on_where_it_was(
    wild, tmp_path, stopped_and_resumed, files_of, entry, failures
):
    scenario = wild(ENTRIES[entry], until={"simulated_s": 14})
    scenario["world"] = scenario["world"] | FAILURES[failures]
    calm = stopped_and_resumed(scenario, tmp_path / "calm")
    last = calm.info["totals"]["events"]
    for event in (last // 4, last // 2, 3 * last // 4):
        stormy = stopped_and_resumed(scenario, tmp_path / f"stormy-{event}", event)
        assert files_of(stormy) == files_of(calm), event


def test_saving_changes_nothing(wild, tmp_path, files_of, stopped_and_resumed):
    scenario = wild({"name": "mba"}, until={"simulated_s": 12})
    (often,) = run_scenario(
        parse_scenario(scenario),
        runs=tmp_path / "often",
        device="cpu",
        workers=1,
        policy=ResumePolicy(checkpoint_every_s=1e-3),
    )
    assert files_of(often) == files_of(stopped_and_resumed(scenario, tmp_path / "never"))


@pytest.mark.parametrize("kind", ["auto", "sequential"])
def test_whatever_is_evaluated_beside_the_test_set_goes_on_where_it_was(
    wild, tmp_path, stopped_and_resumed, files_of, kind
):
    beside = {"validation": 0.2, "nearest_mean_samples": 300}
    scenario = wild({"name": "mba"}, evaluate={"every_s": 1, "samples": 50, **beside}, executor={"kind": kind})
    calm = stopped_and_resumed(scenario, tmp_path / "calm")
    half = calm.info["totals"]["events"] // 2
    assert files_of(stopped_and_resumed(scenario, tmp_path / "two", half)) == files_of(calm)
    assert {"validation_accuracy", "validation_loss", "nearest_mean_accuracy"} <= set(calm.metrics["metric"])


def test_workers_may_come_and_go_between_the_parts_of_a_run(wild, tmp_path, stopped_and_resumed, files_of, monkeypatch):
    monkeypatch.setattr("interlude.simulator.training.executors.batched._STEPS_BEFORE_HELP", 20)
    evaluate = {"every_s": 1, "samples": 50, "validation": 0.2, "nearest_mean_samples": 300}
    scenario = wild({"name": "fedasync"}, clients={"count": 40}, until={"simulated_s": 8}, evaluate=evaluate)
    calm = stopped_and_resumed(scenario, tmp_path / "calm")
    half = calm.info["totals"]["events"] // 2
    assert files_of(stopped_and_resumed(scenario, tmp_path / "two", half, workers=2)) == files_of(calm)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_log_is_the_same_wherever_a_timing_only_run_is_resumed(
    wild, tmp_path_factory, stopped_and_resumed, files_of, data
):
    entry = ENTRIES[data.draw(st.sampled_from(sorted(ENTRIES)))]
    scenario = wild(entry, until={"simulated_s": 12}, seed=data.draw(st.integers(0, 5)))
    runs = tmp_path_factory.mktemp("runs")
    calm = stopped_and_resumed(scenario, runs / "calm", timing_only=True)
    event = data.draw(st.integers(1, calm.info["totals"]["events"] - 1))
    stormy = stopped_and_resumed(scenario, runs / "stormy", event, timing_only=True)
    assert files_of(stormy) == files_of(calm)
    assert stormy.info["totals"]["order_sha256"] == calm.info["totals"]["order_sha256"]


def test_a_checkpoint_holds_no_more_than_what_is_alive(wild, tmp_path, stop):
    """A hundred clients in flight; version upon version has been made and forgotten."""
    scenario = wild({"name": "fedasync"}, clients={"count": 100}, until={"simulated_s": 12})
    sizes = [stop(scenario, tmp_path / str(event), event).stat().st_size for event in (250, 500)]
    model_bytes = 4 * 3_500
    assert sizes[1] < 1.5 * sizes[0]
    assert sizes[1] < 110 * 2 * model_bytes  # of every client in flight what it received and, if trained, its result


def test_damaged_checkpoints_are_named_and_with_none_left_a_run_begins_again(wild, tmp_path, stop, files_of):
    scenario = parse_scenario(wild({"name": "fedavg"}, until={"simulated_s": 9}))
    (calm,) = run_scenario(scenario, runs=tmp_path / "calm", device="cpu", workers=1)
    newest = stop(scenario.resolved(), tmp_path / "runs", 4, 6)
    folder = newest.parent
    for num_damaged in (1, 2):
        for path in sorted(folder.glob("*.safetensors"), reverse=True)[:num_damaged]:
            path.write_bytes(path.read_bytes()[:4096])
    said: list[str] = []
    policy = ResumePolicy(resume=True, say=said.append)
    (record,) = run_scenario(scenario, runs=tmp_path / "runs", device="cpu", workers=1, policy=policy)
    assert files_of(record) == files_of(calm)
    assert [sentence.count("is damaged") for sentence in said] == [1, 1, 0]
    assert "begins again" in said[-1]
    assert not folder.exists()


def test_an_unfinished_run_is_gone_on_with_only_as_what_it_is(wild, tmp_path, stop, monkeypatch, files_of):
    given = wild({"name": "fedavg"}, until={"simulated_s": 9})
    stop(given, tmp_path, 4)

    def refusal(changed, **flags):
        with pytest.raises(BadInputError) as refused:
            run_scenario(parse_scenario(changed), runs=tmp_path, device="cpu", policy=ResumePolicy(**flags))
        return str(refused.value)

    assert "pass --resume to resume it" in refusal(given)
    other = {**given, "until": {"simulated_s": 10}}
    for force in (False, True):
        said = refusal(other, resume=True, force=force)
        assert "until.simulated_s was 9.0, and now is 10.0" in said
        assert "--force" not in said
    monkeypatch.setattr("interlude.simulator.run.spec.code_digest", lambda _: "other")
    said = refusal(given, resume=True)
    assert "the simulator's code has changed; pass --force to resume all the same" in said
    policy = ResumePolicy(resume=True, force=True)
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path, device="cpu", workers=1, policy=policy)
    assert record.is_complete


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        ("client_day._SAMPLE_COUNT_BYTES", 800),
        ("server.Server.merge", lambda server, _: server._clock.stop()),  # it ends before the checkpoint
    ],
)
def test_a_replay_that_leads_elsewhere_is_an_error_and_not_another_run(
    wild, tmp_path, stop, monkeypatch, place, changed
):
    given = wild({"name": "fedavg"}, until={"simulated_s": 20})
    stop(given, tmp_path, 14)
    monkeypatch.setattr(f"interlude.simulator.federation.{place}", changed)  # code that has changed
    with pytest.raises(InterludeError, match="does not reach its checkpoint"):
        run_scenario(parse_scenario(given), runs=tmp_path, device="cpu", policy=ResumePolicy(resume=True))


def test_a_method_whose_memory_cannot_be_held_runs_without_checkpoints(wild, tmp_path, monkeypatch):
    class Hasty(threading.Timer):
        def start(self):
            self.function()

    monkeypatch.setattr("interlude.simulator.methods.fedavg.FedAvg.initial_memory", lambda *_: {1, 2})
    monkeypatch.setattr("interlude.simulator.run.checkpointer.threading.Timer", Hasty)
    given = wild({"name": "fedavg"}, until={"simulated_s": 5})
    policy = ResumePolicy(checkpoint_every_s=60.0)
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path, device="cpu", workers=1, policy=policy)
    assert record.is_complete
    assert ["cannot hold a builtins.set" in note for note in record.info["totals"]["notes"]] == [True]


def test_a_run_that_is_half_overwritten_is_no_complete_run(wild, tmp_path, monkeypatch):
    scenario = parse_scenario(wild({"name": "fedavg"}, until={"simulated_s": 3}))
    (whole,) = run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True)

    unlink = Path.unlink

    def killed(path, missing_ok=False):
        if path.name.startswith("part-"):
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True, overwrite=True)
    with pytest.raises(BadInputError, match=r"an unfinished run \(interrupted\)"):
        run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True)
    policy = ResumePolicy(resume=True)
    (again,) = run_scenario(scenario, runs=tmp_path, device="cpu", timing_only=True, policy=policy)
    assert again.info["totals"]["order_sha256"] == whole.info["totals"]["order_sha256"]


def test_a_timeline_has_no_parts_of_an_attempt_that_came_further(wild, tmp_path, stop):
    """The first was killed after its checkpoint, with more parts than it had then; the second stops before them."""
    given = wild({"name": "fedavg"}, until={"simulated_s": 9})
    timeline = stop(given, tmp_path, 4, timing_only=True).parents[1] / "timeline"
    (timeline / "part-00001.parquet").write_bytes((timeline / "part-00000.parquet").read_bytes())
    stop(given, tmp_path, 6, timing_only=True)
    assert [part.name for part in timeline.iterdir()] == ["part-00000.parquet"]


def test_patience_survives_a_resume(scenario_with, stopped_and_resumed, files_of, tmp_path):
    given = scenario_with(
        {
            "methods": [{"name": "fedasync"}],
            "evaluate": {"every_s": 5},
            "training.optimizer.learning_rate": 1e-12,
            "until": {"patience_s": 20},
        }
    )
    undisturbed = stopped_and_resumed(given, tmp_path / "one")
    events = undisturbed.info["totals"]["events"]
    resumed = stopped_and_resumed(given, tmp_path / "two", events // 2)
    assert files_of(resumed) == files_of(undisturbed)
    assert resumed.info["totals"]["ended_by"] == "patience_s"
