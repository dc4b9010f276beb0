"""Power-of-Choice: who is asked, who trains, what asking costs."""

import numpy as np
import pandas as pd
import pytest
import torch

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.rules import SizedBarrier
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.powerofchoice import LossProbe, PowerOfChoice, PowerOfChoiceOptions, largest
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.task import LocalSteps, Task
from interlude.simulator.training.values import Named

BOTH = ("gray", "color")
SCENARIO = {
    "name": "pow-d",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp", "width": 16},
    "clients": {"count": 6},
    "world": {
        "arrival": {
            "gray": {"per_client": {"distribution": "constant", "value_s": 2.0}},
            "color": {"per_client": {"distribution": "constant", "value_s": 9.0}},
        },
        "compute": {"throughput_gflops": 1.0},
        "network": {"uplink_mbps": 8, "downlink_mbps": 8, "latency_ms": 0},
    },
    "training": {"window_samples": 32, "optimizer": {"learning_rate": 0.05}},
    "until": {"versions": 3},
    "evaluate": {"every_s": 1000},
}


def pow_d(candidates, per_round, **more):
    return {"name": "pow-d", "candidates": candidates, "server": {"clients_per_round": per_round}, **more}


def run(tmp_path, *methods, timing_only=False, **changes):
    scenario = parse_scenario({**SCENARIO, **changes, "methods": list(methods)})
    return run_scenario(scenario, runs=tmp_path, timing_only=timing_only)


# --- choosing --------------------------------------------------------------------------------------------------------


def test_the_largest_losses_train():
    losses = {4: torch.tensor(0.5), 7: torch.tensor(2.0), 2: torch.tensor(1.0)}
    assert largest([2, 4, 7], losses, 2) == [7, 2]


def test_ties_go_to_the_lower_client_and_lost_answers_last():
    losses = {4: torch.tensor(1.0), 2: torch.tensor(1.0)}
    assert largest([1, 2, 4], losses, 2) == [2, 4]
    assert largest([1, 2, 4], losses, 3) == [2, 4, 1]


def drawn(weights, candidates, times, **options):
    """Return how often each set of candidates was drawn from idle clients 1, 2, ... with so many samples."""
    num_clients = len(weights) + 1
    population = Population([np.arange(n) for n in (0, *weights)], [BOTH] * num_clients)
    server = SizedBarrier(clients_per_round=1)
    method = PowerOfChoice(PowerOfChoiceOptions(candidates=candidates, server=server, **options))
    idle = range(1, num_clients)
    views = (SelectionView(0, version, 0, idle, population, {}) for version in range(times))
    sets = [tuple(method.candidates(view, 0)) for view in views]
    return pd.Series(sets).value_counts(normalize=True)


def test_candidates_are_drawn_in_proportion_to_their_samples_without_replacement():
    # weights 1, 2, 3. Both of {2, 3}: 2/6 * 3/4 + 3/6 * 2/3 = 7/12; {1, 3}: 1/6 * 3/5 + 3/6 * 1/3 = 4/15;
    # {1, 2}: 1/6 * 2/5 + 2/6 * 1/4 = 3/20. 2000 draws: deviation at most 0.011.
    shares = drawn([1, 2, 3], 2, 2000)
    assert shares[(2, 3)] == pytest.approx(7 / 12, abs=0.04)
    assert shares[(1, 3)] == pytest.approx(4 / 15, abs=0.04)
    assert shares[(1, 2)] == pytest.approx(3 / 20, abs=0.04)


def test_candidates_can_be_drawn_alike():
    shares = drawn([1, 1, 98], 1, 2000, candidate_weights="uniform")
    assert list(shares) == pytest.approx([1 / 3] * 3, abs=0.04)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            {"name": "pow-d", "server": {"rule": "on_arrival"}},
            "server.rule: must be 'barrier'; given 'on_arrival'",
        ),
        (
            {"name": "pow-d", "server": {"rule": "buffered"}},
            "server.rule: must be 'barrier'; given 'buffered'",
        ),
        (
            {"name": "pow-d", "server": {"clients_per_round": None}},
            "server.clients_per_round: should be a valid integer",
        ),
        (pow_d(4, 5), "candidates must be at least the 5 clients"),
        (pow_d(5, 4) | {"server": {"clients_per_round": 4, "over_selection": 1.3}}, "at least the 6 clients"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(method, said):
    with pytest.raises(BadInputError) as error:
        parse_scenario({**SCENARIO, "methods": [method]})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# --- the probe -------------------------------------------------------------------------------------------------------


def test_a_probe_reports_the_mean_loss_of_the_window_and_changes_nothing():
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (2,)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(10, *given.shape, generator=generator) for m, given in network.inputs.items()}
    samples = inputs, torch.randint(3, (10,), generator=generator)
    model = network.initial_parameters(generator, torch.device("cpu"))
    executor = SequentialExecutor(
        network,
        TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1)),
        0,
        samples,
        EvaluationSets(samples),
    )
    steps = LocalSteps(LossProbe(BOTH), 0, "probe")
    task = Task(client=0, window=0, version=0, local_steps=(steps,), samples=np.arange(5), start=model, received=model)
    trained = executor.submit(task).result()
    logits = network(model, {m: x[:5] for m, x in inputs.items()}).logits
    expected = torch.nn.functional.cross_entropy(logits, samples[1][:5])
    torch.testing.assert_close(trained.report[Named("loss")], expected)
    assert all(torch.equal(trained.parameters[name], model[name]) for name in model)
    # forward over 5 samples: gray 3*4 + 4*4, color 2*4 + 4*4, head 2 * 4*3; one float up, no group
    cost = CostModel(network, 4, {}).of_task((steps,), 5)
    assert (cost.flops, cost.report_bytes, cost.groups) == (2 * 5 * (28 + 24 + 24), 4, ())


def test_asking_costs_a_wait_a_download_and_a_tiny_upload(tmp_path):
    # 8 Mbit/s are 1 MB/s; all clients are alike: a probe takes max(download, 9 s), a forward pass and 12 bytes up.
    (record,) = run(tmp_path, pow_d(4, 2), timing_only=True, until={"versions": 1})
    timeline = record.timeline
    model_bytes = 4 * (64 * 16 + 192 * 16 + 2 * (16 + 16 * 16 + 16) + 2 * 160 + 10)
    forward_flops = 2 * 32 * (64 * 16 + 192 * 16 + 2 * 16 * 16 + 2 * 160)
    asked_s = 9.0 + forward_flops / 1e9 + 12 / 1e6
    probes, rounds = (timeline.query(f"start_s {sign} {asked_s - 1e-9}") for sign in ("<", ">="))
    down, up = (probes.query(f"activity == '{activity}'") for activity in ("download", "upload"))
    assert list(down["bytes"]) == [model_bytes] * 4
    assert list(up["bytes"]) == [4 + 8] * 4  # a float and n_k
    assert list(probes.query("activity == 'train'")["flops"]) == [forward_flops] * 4
    assert up["end_s"].to_numpy() == pytest.approx(asked_s)
    chosen = rounds.query("activity == 'download'")
    assert list(chosen["bytes"]) == [model_bytes] * 2
    assert set(chosen["client"]) < set(down["client"])
    assert chosen["start_s"].to_numpy() == pytest.approx(asked_s)
    costs = CostModel(Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10), 32, {})
    trained_s = asked_s + 9.0 + costs.step(CrossEntropy(BOTH), 32).flops / 1e9
    merges = rounds.query("activity == 'merge'")
    assert merges["end_s"].to_numpy() == pytest.approx(trained_s + (model_bytes + 8) / 1e6)
    assert set(merges["client"]) == set(chosen["client"])
    assert (merges["staleness"] == 0).all()


def test_those_with_the_largest_loss_are_sent_out(tmp_path, monkeypatch):
    asked = []
    remember = PowerOfChoice.remember

    def noting(method, memory, updates):
        memory_after = remember(method, memory, updates)
        if memory_after is not memory:
            asked.append(memory_after)
        return memory_after

    monkeypatch.setattr(PowerOfChoice, "remember", noting)
    (record,) = run(tmp_path, pow_d(4, 2))
    merged = record.timeline.query("activity == 'merge'").groupby("version")["client"].agg(set)
    assert len(asked) == 3
    for losses, clients in zip(asked, merged, strict=True):
        assert set(sorted(losses, key=lambda client: losses[client].item())[-2:]) == clients


# --- whole runs ------------------------------------------------------------------------------------------------------


def test_where_all_candidates_train_none_is_asked_and_it_is_fedavg(tmp_path):
    fedavg, pow_of_all = run(tmp_path, {"name": "fedavg"}, pow_d(6, 6))
    pd.testing.assert_frame_equal(fedavg.metrics, pow_of_all.metrics)
    key = ["start_s", "end_s", "client", "activity", "version"]
    first, second = (r.timeline.sort_values(key).reset_index(drop=True) for r in (fedavg, pow_of_all))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("switch", [{}, {"waiting": "first"}, {"waiting": "opportunistic"},
                                    {"candidate_weights": "uniform"}, {"proximal": 0.1}])  # fmt: skip
@pytest.mark.parametrize("timing_only", [False, True])
def test_it_runs_in_a_world_with_faults_and_late_clients(switch, timing_only, tmp_path):
    late = {"clients_per_round": 2, "over_selection": 1.5, "deadline_s": 12.0}
    (record,) = run(
        tmp_path,
        pow_d(4, 2, **switch) | {"server": late},
        timing_only=timing_only,
        clients={"count": 6, "multimodal_fraction": 0.5},
        world={**SCENARIO["world"], "faults": {"dropout_probability": 0.3}},
    )
    assert record.info["totals"]["versions"] == 3


def test_the_same_seed_asks_and_chooses_the_same(tmp_path):
    first, second = (run(tmp_path / name, pow_d(4, 2), timing_only=True)[0] for name in ("first", "second"))
    assert first.info["totals"]["order_sha256"] == second.info["totals"]["order_sha256"]
