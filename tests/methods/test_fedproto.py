"""FedProto in both forms: loss, prototypes, own models, payload, and what it equals."""

import math

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.rules import Barrier, OnArrival
from interlude.simulator.federation.staleness import PolynomialStaleness
from interlude.simulator.methods.fedproto import FedProto, FedProtoOptions, TowardsPrototypes, global_prototypes
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import Named, named

MODALITIES = ("gray", "color")


@pytest.fixture
def identity_network():
    """Encoders that return their non-negative input (width 2) and a head that returns gray's feature."""
    network = Network(ModelSpec(encoder="mlp", width=2), {"gray": (2,), "color": (2,)}, num_classes=2)
    parameters = {name: torch.zeros(shape.shape) for name, shape in network.shapes.items()}
    for name in parameters:
        if name.endswith("weight") and name != "head.color.weight":
            parameters[name] = torch.eye(2)
    return network, parameters


@pytest.mark.parametrize(
    ("form", "term"),
    [
        # gray (1, 0) to (1, 2): (0 + 4) / 2 = 2; color (0, 1) to (3, 1): 9 / 2 = 4.5
        ("original", 2.0 + 4.5),
        # gray is 2 and 1 away from its own class and the other: log(1 + e^1); color 3 and 1: log(1 + e^2)
        ("balanced", math.log(1 + math.e) + math.log(1 + math.exp(2))),
    ],
)
def test_loss_by_hand(identity_network, form, term):
    network, parameters = identity_network
    batch = Batch(
        {"gray": torch.tensor([[1.0, 0.0]]), "color": torch.tensor([[0.0, 1.0]])}, torch.tensor([0]), torch.tensor([0])
    )
    prototypes = {"gray": torch.tensor([[1.0, 2.0], [2.0, 0.0]]), "color": torch.tensor([[3.0, 1.0], [0.0, 2.0]])}
    objective = TowardsPrototypes(MODALITIES, form, 0.5)
    broadcast = named("prototype", prototypes)
    prepared = objective.prepare(network, parameters, batch, Context(parameters, broadcast))
    loss = objective.loss(network, parameters, batch, Context(parameters, broadcast, prepared))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)) + 0.5 * term, rel=1e-5)


def arrived(client, value, *, num_samples=1, prototype=0.0, staleness=0, groups=("encoder.gray",), start=0.0):
    names = ("encoder.gray.w", "encoder.color.w")
    return ClientUpdate(
        client=client,
        groups=groups,
        num_samples=num_samples,
        staleness=staleness,
        parameters={n: torch.tensor([value if n.rpartition(".")[0] in groups else start]) for n in names},
        start={n: torch.tensor([start]) for n in names},
        report={
            Named("prototype", "gray"): torch.tensor([[prototype], [0.0]]),
            Named("class_count"): torch.tensor([float(num_samples), 0.0]),
        },
    )


def test_global_prototypes_at_a_barrier_and_on_arrival():
    # (1 * 4 + 3 * 8) / 4 = 7; on arrival: 0.6 * s(3) = 0.6 / 2: 0.7 * 2 + 0.3 * 8 = 3.8; class 1 and color are kept
    previous = {"gray": torch.tensor([[2.0], [5.0]]), "color": torch.tensor([[1.0], [1.0]])}
    updates = [arrived(0, 0.0, prototype=4.0), arrived(1, 0.0, prototype=8.0, num_samples=3, staleness=3)]
    merged = global_prototypes(Barrier(), previous, updates)
    assert {m: c.tolist() for m, c in merged.items()} == {"gray": [[7.0], [5.0]], "color": [[1.0], [1.0]]}
    rule = OnArrival(mixing=0.6, staleness=PolynomialStaleness(function="polynomial", exponent=0.5))
    torch.testing.assert_close(
        global_prototypes(rule, previous, updates[1:])["gray"], torch.tensor([[3.8], [5.0]])
    )  # fmt: skip


def test_clients_keep_their_own_models():
    network = Network(ModelSpec(encoder="mlp", width=1), {"gray": (1,), "color": (1,)}, num_classes=2)
    method = FedProto(FedProtoOptions())
    initial = {n: torch.tensor([1.0]) for n in ("encoder.gray.w", "encoder.color.w")}
    memory = method.initial_memory(network, 3)
    assert method.model_for(initial, memory, 0) is initial
    # gray: (1 * 4 + 3 * 8) / 4 = 7; no client trained color
    updates = [arrived(0, 4.0, start=1.0), arrived(1, 8.0, num_samples=3, start=1.0)]
    mean, memory = method.advance(initial, memory, updates)
    assert [v.item() for v in mean.values()] == [7.0, 1.0]
    # the mean is for evaluation: 0 and 1 go on from their own models, 2 from version 0
    models = [method.model_for(mean, memory, client)["encoder.gray.w"].item() for client in range(3)]
    assert models == [4.0, 8.0, 1.0]
    # 0 trains color next: gray is still its own 4; color counts its 6 alone
    second = arrived(0, 6.0, start=4.0, groups=("encoder.color",))
    mean, memory = method.advance(mean, memory, [second])
    assert [v.item() for v in mean.values()] == [7.0, 6.0]


def test_balanced_form_merges_weights():
    network = Network(ModelSpec(encoder="mlp", width=1), {"gray": (1,), "color": (1,)}, num_classes=2)
    method = FedProto(FedProtoOptions(form="balanced"))
    initial = {n: torch.tensor([1.0]) for n in ("encoder.gray.w", "encoder.color.w")}
    mean, memory = method.advance(initial, method.initial_memory(network, 2), [arrived(0, 4.0), arrived(1, 8.0)])
    assert [v.item() for v in mean.values()] == [6.0, 1.0]
    assert method.model_for(mean, memory, 0) is mean


def test_payload_of_a_report():
    # two modalities of 10 x 512 float32 = 20,480 bytes, ten counts
    network = Network(ModelSpec(encoder="mlp", width=512), {"gray": (4,), "color": (4,)}, num_classes=10)
    method = FedProto(FedProtoOptions())
    costs = CostModel(network, 4, method.broadcast(method.initial_memory(network, 3)))
    steps = LocalSteps(TowardsPrototypes(MODALITIES, "original", 1.0), 1, "joint")
    assert costs.of_task((steps,), 4).report_bytes == 2 * 20_480 + 40


# --- whole runs ------------------------------------------------------------------------------------------------------

ROUNDS = {"until": {"versions": 3}, "evaluate.every_s": 1}


def run(given, tmp_path, *methods, **options):
    return run_scenario(parse_scenario({**given, "methods": list(methods)}), runs=tmp_path, **options)


def by_version(record):
    return (
        record.metrics.drop_duplicates(["version", "metric", "modality"]).drop(columns="time_s").reset_index(drop=True)
    )


def test_no_weights_travel_in_the_original_form(scenario_with, tmp_path):
    methods = [{"name": "fedproto"}, {"name": "fedproto", "label": "balanced", "form": "balanced"}, {"name": "fedavg"}]
    records = run(scenario_with(ROUNDS), tmp_path, *methods, timing_only=True)
    down, up = (
        [r.timeline.query(f"activity == '{sent}' and outcome == 'done'")["bytes"].unique().tolist() for r in records]
        for sent in ("download", "upload")
    )
    prototypes = 2 * 10 * 16 * 4
    assert down[0] == [prototypes]
    assert up[0] == [prototypes + 40 + 8]
    assert down[1] == [down[2][0] + prototypes]
    assert up[1] == [up[2][0] + prototypes + 40]


def test_balanced_without_weight_is_fedavg(scenario_with, tmp_path):
    bare = {"name": "fedproto", "form": "balanced", "weight": 0}
    fedavg, fedproto = run(scenario_with(ROUNDS), tmp_path, {"name": "fedavg"}, bare)
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(fedproto))


def test_original_without_weight_is_local_training(scenario_with, tmp_path):
    # with one client the mean of the own models is the own model, and FedAvg is local training, too
    given = scenario_with({**ROUNDS, "clients.count": 1})
    fedavg, fedproto = run(given, tmp_path, {"name": "fedavg"}, {"name": "fedproto", "weight": 0})
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(fedproto))


def test_the_balanced_term_ends(scenario_with, tmp_path):
    always, once = run(
        scenario_with(ROUNDS),
        tmp_path,
        {"name": "fedproto", "form": "balanced", "versions": None},
        {"name": "fedproto", "form": "balanced", "label": "two", "versions": 2},
    )
    first, second = by_version(always), by_version(once)
    pd.testing.assert_frame_equal(first[first["version"] < 3], second[second["version"] < 3])
    assert not first.equals(second)


@pytest.mark.parametrize("form", ["original", "balanced"])
@pytest.mark.parametrize(
    "options",
    [{"server": {"rule": "on_arrival"}}, {"server": {"rule": "buffered", "size": 2}}, {"waiting": "first"}],
    ids=str,
)
def test_it_runs_without_rounds_and_with_one_modality(form, options, scenario_with, tmp_path):
    given = scenario_with({"clients.multimodal_fraction": 0.5, "until": {"versions": 5}})
    (record,) = run(given, tmp_path, {"name": "fedproto", "form": form, **options})
    assert record.metrics["value"].notna().all()
