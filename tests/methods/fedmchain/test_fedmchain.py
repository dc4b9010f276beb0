"""FedMChain: residuals by hand, and whole runs."""

import pytest
import torch

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.methods.fedmchain import FedMChain, FedMChainOptions
from interlude.simulator.run.build import build_testbed
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.values import Named

# --- the merge -------------------------------------------------------------------------------------------------------


def arrived(client, delta, *, num_samples=1, start=1.0):
    parameters = {"encoder.a.w": start + torch.tensor(delta), "encoder.b.w": torch.tensor([99.0])}
    return ClientUpdate(
        client, ("encoder.a",), num_samples, 0, parameters, {**parameters, "encoder.a.w": torch.tensor(start)}, {}
    )


def test_what_was_not_sent_is_sent_later():
    # half of two values. First (4, 1): 4 is sent, (0, 1) is left. Then (2, 1.5) + (0, 1) = (2, 2.5): 2.5 is sent.
    method = FedMChain(FedMChainOptions(rho=0.5, server_rate=0.5))
    model = {"encoder.a.w": torch.tensor([1.0, 1.0]), "encoder.b.w": torch.tensor([7.0])}
    model, memory = method.advance(model, method.initial_memory(None, 1), [arrived(0, [4.0, 1.0])])
    assert model["encoder.a.w"].tolist() == [3.0, 1.0]  # eta_s 1/2
    assert memory.residuals[0]["encoder.a.w"].tolist() == [0.0, 1.0]
    model, memory = method.advance(model, memory, [arrived(0, [2.0, 1.5])])
    assert model["encoder.a.w"].tolist() == [3.0, 2.25]
    assert memory.residuals[0]["encoder.a.w"].tolist() == [2.0, 0.0]
    assert model["encoder.b.w"].tolist() == [7.0]  # not of this phase
    assert method.observe(memory)[Named("clusters", "a")].item() == 1.0


def test_without_error_feedback_it_is_lost():
    method = FedMChain(FedMChainOptions(rho=0.5, error_feedback=False))
    model = {"encoder.a.w": torch.tensor([1.0, 1.0])}
    memory = method.initial_memory(None, 1)
    for _ in range(2):
        model, memory = method.advance(model, memory, [arrived(0, [4.0, 3.0])])
    assert model["encoder.a.w"].tolist() == [9.0, 1.0]
    assert memory.residuals == {}


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"ec": "ensemble"}, {"pipelined": True}, {"server": {"over_selection": 1.5, "clients_per_round": 2}},
     {"order": ["color", "gray"], "proximal": 0.1}, {"server": {"deadline_s": 4.0}}],
)  # fmt: skip
def test_runs_with_incongruent_modalities_and_twice_the_same(options, scenario_with, tmp_path):
    fusion = "late_sum" if options.get("pipelined") else "concat"
    changes = {
        "methods": [{"name": "fedmchain", "phase_epochs": 2, **options}],
        "clients.multimodal_fraction": 0.5,
        "model.fusion": fusion,
        "world.faults": {"dropout_probability": 0.1},
    }
    scenario = parse_scenario(scenario_with(changes))
    first, second = (run_scenario(scenario, runs=tmp_path / name)[0] for name in "ab")
    assert first.info["totals"]["versions"] > 2
    assert (first.path / "metrics.csv").read_bytes() == (second.path / "metrics.csv").read_bytes()
    assert set(first.metrics.query("metric == 'clusters'")["modality"]) == {"gray", "color"}
    timed = run_scenario(scenario, runs=tmp_path / "c", timing_only=True)[0]
    assert timed.info["totals"]["order_sha256"] == first.info["totals"]["order_sha256"]


def test_phases_of_a_modality_that_no_client_holds_are_left_out(scenario_with, tmp_path):
    changes = {"methods": [{"name": "fedmchain"}], "clients.multimodal_fraction": 0.0, "clients.count": 1}
    record = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, timing_only=True)[0]
    assert record.timeline.query("activity == 'train'")["modality"].nunique() == 1
    assert record.info["totals"]["versions"] > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": {"rule": "on_arrival"}}, r"methods\.0\.server\.rule: must be 'barrier'; given 'on_arrival'"),
        ({"server": {"rule": "buffered", "size": 3}}, r"methods\.0\.server\.rule: must be 'barrier'; given 'buffered'"),
        ({"pipelined": True, "server": {"deadline_s": 5}}, r"pipelined phases wait for all their clients"),
        ({"waiting": "first"}, r"methods\.0\.waiting: must be 'all'; given 'first'"),
        ({"order": ["gray"]}, r"methods\.0\.order: must name each of gray, color once; given gray"),
        ({"order": ["gray", "colour"]}, r"methods\.0\.order: must name each of gray, color once; given gray, colour"),
        ({"rho": 0.0}, r"methods\.0\.rho"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_sentence(options, message, scenario_with):
    with pytest.raises(BadInputError, match=message) as error:
        build_testbed(parse_scenario(scenario_with({"methods": [{"name": "fedmchain", **options}]})))
    assert "\n" not in str(error.value)
