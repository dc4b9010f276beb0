"""BMSFed: losses, ratios, selection and merge by hand; payload, schedule and identities through whole runs."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.models.network import ModelSpec, Network
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.methods.balance import Balance
from interlude.simulator.methods.bmsfed import BMSFed, BMSFedOptions, Weak
from interlude.simulator.methods.divfl import probe
from interlude.simulator.methods.enhancement import ModalEnhanced
from interlude.simulator.methods.facility_location import GradientMap
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions
from interlude.simulator.training.cost import CostModel
from interlude.simulator.training.evaluation import FUSED
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.task import LocalSteps

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


# Own prototypes are the two samples themselves: gray's are 2 apart, color's 1, so that s_gray = 1 / (1 + e^-2) and
# s_color = 1 / (1 + e^-1).
WINDOW = Batch(
    {"gray": torch.tensor([[1.0, 0.0], [1.0, 2.0]]), "color": torch.tensor([[1.0, 0.0], [1.0, 1.0]])},
    torch.tensor([0, 1]),
    torch.arange(2),
)
S_GRAY, S_COLOR = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))
CE = math.log(1 + math.exp(-1))  # gray's logits are (1, 0) for class 0 and (1, 2) for class 1
GLOBAL = {"gray": torch.tensor([[9.0, 9.0], [8.0, 8.0]]), "color": torch.tensor([[1.0, 0.0], [4.0, 0.0]])}


def loss_of(objective, network, parameters, window, broadcast):
    context = Context(parameters, broadcast)
    prepared = objective.prepare(network, parameters, window, context)
    return objective.loss(network, parameters, window, Context(parameters, broadcast, prepared)).item(), prepared


def test_the_modality_that_is_behind_is_enhanced(identity_network):
    # rho = s_gray / s_color = 1.2048: beta = 0.2048 on color, gamma = clip(1 / rho - 1) = 0 on gray.
    # Color to global (1, 0), (4, 0): sample 0 is 0 and 3 away: log(1 + e^-3); sample 1, of class 1, is 1 and sqrt 10
    # away: log(1 + e^(sqrt 10 - 1)).
    beta = S_GRAY / S_COLOR - 1
    enhancement = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(math.sqrt(10) - 1))) / 2
    loss, prepared = loss_of(ModalEnhanced(MODALITIES), *identity_network, WINDOW, {"prototype": GLOBAL})
    weights = {m: w.item() for m, w in prepared["weight"].items()}
    assert weights == pytest.approx({"gray": 0.0, "color": beta}, rel=1e-5)
    assert loss == pytest.approx(CE + beta * enhancement, rel=1e-5)


def test_the_other_one_is_enhanced_where_it_is_behind(identity_network):
    # swapped data: rho = 0.83, gamma = 1 / rho - 1 = 0.2048 on gray; all logits are gray's: (1, 0) and (1, 1)
    swapped = Batch({"gray": WINDOW.inputs["color"], "color": WINDOW.inputs["gray"]}, WINDOW.labels, WINDOW.positions)
    prototypes = {"gray": GLOBAL["color"], "color": GLOBAL["gray"]}
    enhancement = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(math.sqrt(10) - 1))) / 2
    loss, _ = loss_of(ModalEnhanced(MODALITIES), *identity_network, swapped, {"prototype": prototypes})
    assert loss == pytest.approx((CE + math.log(2)) / 2 + (S_GRAY / S_COLOR - 1) * enhancement, rel=1e-5)


def test_local_prototypes_are_the_clients_own(identity_network):
    # color to its own (1, 0), (1, 1): both samples log(1 + e^-1)
    loss, _ = loss_of(ModalEnhanced(MODALITIES, source="local"), *identity_network, WINDOW, {})
    assert loss == pytest.approx(CE + (S_GRAY / S_COLOR - 1) * math.log(1 + math.exp(-1)), rel=1e-5)


def test_a_uni_modal_client_is_told_how_far_it_is_behind(identity_network):
    # color alone: logits 0, CE = log 2; ratio 1.25 -> beta 0.25
    enhancement = (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(math.sqrt(10) - 1))) / 2
    broadcast = {"prototype": GLOBAL, "ratio": {FUSED: torch.tensor(1.25)}}
    loss, _ = loss_of(ModalEnhanced(("color",), is_weak=True), *identity_network, WINDOW, broadcast)
    assert loss == pytest.approx(math.log(2) + 0.25 * enhancement, rel=1e-5)


@pytest.mark.parametrize("objective", [ModalEnhanced(MODALITIES, enhancement=False), ModalEnhanced(("gray",))])
def test_without_enhancement_or_a_rival_it_is_cross_entropy(identity_network, objective):
    assert loss_of(objective, *identity_network, WINDOW, {"prototype": GLOBAL})[0] == pytest.approx(CE, rel=1e-5)


def test_the_report_by_hand(identity_network):
    network, parameters = identity_network
    report = ModalEnhanced(MODALITIES).report(network, parameters, WINDOW, Context(parameters))
    assert {m: s.item() for m, s in report["score"].items()} == pytest.approx({"gray": S_GRAY, "color": S_COLOR})
    torch.testing.assert_close(report["prototype"], dict(WINDOW.inputs))
    assert report["class_count"][FUSED].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        # two modalities of 10 x 512 float32 = 20,480 bytes, two scores, ten counts
        (ModalEnhanced(MODALITIES), 2 * 20_480 + 2 * 4 + 40),
        (ModalEnhanced(("color",), is_weak=True), 20_480 + 4 + 40),
        (ModalEnhanced(MODALITIES, shares=False), 2 * 4),
    ],
)
def test_payload_of_a_report(objective, expected):
    network = Network(ModelSpec(encoder="mlp", width=512), {"gray": (4,), "color": (4,)}, num_classes=10)
    method = BMSFed(BMSFedOptions())
    costs = CostModel(network, 4, method.broadcast(method.initial_memory(network, 3)))
    cost = costs.of_task((LocalSteps(objective, 1, "joint"),), 4)
    assert cost.report_bytes == expected
    assert cost.groups == network.groups_of(objective.modalities)


# --- the server ------------------------------------------------------------------------------------------------------

NAMES = ("encoder.gray.w", "encoder.color.w", "head.gray.w", "head.color.w", "head.bias")


def arrived(client, *, gray=None, color=None, num_samples=1, score=None, start=0.0):
    """Return an update whose encoders and head slices moved from `start` to the given values."""
    values = {"gray": gray, "color": color}
    trained = [m for m, value in values.items() if value is not None]
    moved = {n: values.get(n.split(".")[1], gray if color is None else color) for n in NAMES}
    return ClientUpdate(
        client=client,
        groups=(*(f"{part}.{m}" for m in trained for part in ("encoder", "head")), "head.bias"),
        num_samples=num_samples,
        staleness=0,
        parameters={n: torch.tensor([start if v is None else v]) for n, v in moved.items()},
        start={n: torch.tensor([start]) for n in NAMES},
        report={"score": {m: torch.tensor(v) for m, v in (score or {}).items()}},
    )


def empty_memory(num_clients=3, **options):
    network = Network(ModelSpec(encoder="mlp", width=2), {"gray": (2,), "color": (2,)}, num_classes=2)
    method = BMSFed(BMSFedOptions(prototypes="local", **options))
    return method, method.initial_memory(network, num_clients)


def test_global_ratio_by_hand():
    # rho = (0.6 / 0.3, 0.2 / 0.4, never) = (2, 0.5, -): (1 * 2 + 3 * 0.5) / 4 = 0.875
    method, memory = empty_memory()
    assert memory.ratio().item() == 1.0
    first = arrived(0, gray=1.0, color=1.0, num_samples=1, score={"gray": 0.6, "color": 0.3})
    second = arrived(1, gray=1.0, color=1.0, num_samples=3, score={"gray": 0.2, "color": 0.4})
    memory = method.learn(memory, [first, second])
    assert memory.ratios().tolist() == pytest.approx([2.0, 0.5, 1.0])
    assert memory.ratio().item() == pytest.approx(0.875)
    # a uni-modal client refreshes its own half: 0.6 / 0.5 = 1.2; a client with one modality counts as 1
    third = arrived(2, gray=1.0, num_samples=4, score={"gray": 0.9})
    memory = method.learn(memory, [arrived(0, color=1.0, num_samples=1, score={"color": 0.5}), third])
    assert memory.ratios().tolist() == pytest.approx([1.2, 0.5, 1.0])
    assert memory.ratio().item() == pytest.approx((1.2 + 1.5 + 4.0) / 8)


def test_distances_by_hand():
    # Probe, g = theta - theta_k: (-3, -4), (0, 0), and client 2, which holds gray only, (-6, none).
    method, memory = empty_memory()
    probed = [arrived(0, gray=3.0, color=4.0), arrived(1, gray=0.0, color=0.0), arrived(2, gray=6.0)]
    memory = method.learn(memory, probed)
    assert memory.fused.distances.tolist() == [[0, 5, 5], [5, 0, 6], [5, 6, 0]]
    assert memory.single["gray"].distances.tolist() == [[0, 3, 3], [3, 0, 6], [3, 6, 0]]
    assert memory.single["color"].distances.tolist() == [[0, 4, 4], [4, 0, 0], [4, 0, 0]]
    # later, 1 trains both and 0 only color: D^M moves with 1 alone, D^color with 0 alone
    memory = method.learn(memory, [arrived(1, gray=3.0, color=0.0), arrived(0, color=1.0)])
    assert memory.fused.distances.tolist() == [[0, 4, 5], [4, 0, 3], [5, 3, 0]]
    assert memory.single["gray"].distances.tolist() == [[0, 3, 3], [3, 0, 6], [3, 6, 0]]
    assert memory.single["color"].distances.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_every_group_is_merged_over_those_who_trained_it():
    # gray: only 0, 4. color: (1 * 8 + 3 * 4) / 4 = 5. bias: 0 ends at 8, 1 at 4: 5
    method, memory = empty_memory()
    model = {n: torch.tensor([1.0]) for n in NAMES}
    updates = [arrived(0, gray=4.0, color=8.0, num_samples=1), arrived(1, color=4.0, num_samples=3, start=1.0)]
    merged, _ = method.merge(model, memory, updates)
    expected = {"encoder.gray.w": 4, "head.gray.w": 4, "encoder.color.w": 5, "head.color.w": 5, "head.bias": 5}
    assert {n: v.item() for n, v in merged.items()} == expected


@pytest.mark.parametrize(("better", "worse"), [("gray", "color"), ("color", "gray")])
def test_the_threshold_is_mirrored(better, worse):
    # Clients 0 and 1 score the better modality twice and 1.2 times as high: the global imbalance is above 1, and only
    # client 0 is above chi = 1.5. Client 0 is not the best for both, so it is told to train the other one alone.
    method, memory = empty_memory(rule="code", subset_size=1)
    updates = [
        arrived(0, gray=0.0, color=0.0, score={better: 0.8, worse: 0.4}),
        arrived(1, gray=5.0, color=5.0, score={better: 0.6, worse: 0.5}),
        arrived(2, gray=9.0, color=9.0, score={better: 0.5, worse: 0.5}),
    ]
    server = SimpleNamespace(
        memory=method.learn(memory, updates), idle=[2, 0, 1], seed=0, num_clients=3, num_returned=3
    )
    roles = method._select(server, 3)
    assert roles.keys() == {0, 1, 2}
    assert (roles[1], roles[2]) == (None, None)
    assert isinstance(roles[0], Weak)
    assert (roles[0].modality, roles[0].ratio) == (worse, pytest.approx(2.0))


def test_one_modality_is_refused():
    with pytest.raises(BadInputError, match=r"BMSFed compares modalities, but the data set has only a"):
        BMSFed(BMSFedOptions()).network(ModelSpec(encoder="mlp"), {"a": (2,)}, 3)


def balance_of(*scores, num_samples=(1.0, 3.0)):
    nothing = GradientMap.empty(2)
    names = ("a", "b", "c")[: len(scores)]
    return Balance(names, {}, torch.tensor(scores), torch.tensor(num_samples), nothing, dict.fromkeys(names, nothing))


def test_of_three_modalities_one_is_behind_by_hand():
    # b is behind a at both clients; c is behind b at client 0 (0.2 / 0.1), ahead at client 1 (0.2 / 0.4), of 3 times
    # the weight: (2 + 3 * 0.5) / 4 < 1
    balance = balance_of([0.6, 0.8], [0.2, 0.2], [0.1, 0.4])
    assert balance.weak() == "b"
    assert balance.lead_over("b") == pytest.approx([0.35 / 0.2, 0.6 / 0.2])
    assert balance.ratios("c").tolist() == pytest.approx([0.1 / 0.4, 0.4 / 0.5])
    assert balance.ratio("c").item() == pytest.approx((0.25 + 3 * 0.8) / 4)
    # who never reported c is not behind in it
    assert balance_of([0.6, 0.8], [0.2, 0.2], [0.0, 0.0]).ratios("c").tolist() == [1.0, 1.0]
    # a mean is over what was reported
    assert balance_of([0.6, 0.8], [0.2, 0.2], [0.0, 0.4]).lead_over("b") == pytest.approx([3.0, 3.0])


def test_of_three_modalities_those_below_the_others_mean_are_enhanced():
    # every feature is its input; the classes are 2, 1 and 0 apart, so gray separates best and depth not at all
    network = Network(ModelSpec(encoder="mlp", width=1), dict.fromkeys(("gray", "color", "depth"), (1,)), 2)
    parameters = {
        n: torch.eye(1) if n.startswith("encoder") and n.endswith("weight") else torch.zeros(s.shape)
        for n, s in network.shapes.items()
    }
    inputs = {m: torch.tensor([[1.0], [1.0 + d]]) for m, d in (("gray", 2.0), ("color", 1.0), ("depth", 0.0))}
    window = Batch(inputs, torch.tensor([0, 1]), torch.arange(2))
    objective = ModalEnhanced(("gray", "color", "depth"))
    broadcast = {"prototype": {m: torch.ones(2, 1) for m in inputs}}
    prepared = objective.prepare(network, parameters, window, Context(parameters, broadcast=broadcast))
    gray, color, depth = (1 / (1 + math.exp(-d)) for d in (2.0, 1.0, 0.0))
    weights = {m: w.item() for m, w in prepared["weight"].items()}
    expected = {"gray": 0.0, "color": max((gray + depth) / 2 / color - 1, 0), "depth": (gray + color) / 2 / depth - 1}
    assert weights == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_selection_without_rounds_is_refused(rule, scenario_with):
    given = scenario_with({"methods": [{"name": "bmsfed", "server": {"rule": rule}}]})
    with pytest.raises(BadInputError, match=r"selection 'submodular' .* needs server.rule 'barrier'") as caught:
        parse_scenario(given)
    assert "\n" not in str(caught.value)


# --- whole runs ------------------------------------------------------------------------------------------------------


class ProbedFedAvg(FedAvg):
    """FedAvg that throws a probe away first, so that it meets BMSFed's windows."""

    class Options(FedAvgOptions):
        name: str = ""

    def serve(self, server):
        yield from probe(server)
        yield from super().serve(server)


def run(given, tmp_path, *methods, **options):
    return run_scenario(parse_scenario({**given, "methods": list(methods)}), runs=tmp_path, **options)


def by_version(record):
    """Return the metrics of each version, whenever they were taken."""
    curves = record.metrics[record.metrics["metric"].isin(["accuracy", "loss"])]
    return curves.drop_duplicates(["version", "metric", "modality"]).drop(columns="time_s").reset_index(drop=True)


ROUNDS = {"until": {"versions": 3}, "evaluate.every_s": 1}


def test_nothing_chosen_and_nothing_enhanced_is_fedavg_number_for_number(scenario_with, tmp_path):
    bare = {"name": "bmsfed", "selection": "uniform", "enhancement": False}
    fedavg, bmsfed = run(scenario_with(ROUNDS), tmp_path, {"name": "fedavg"}, bare)
    pd.testing.assert_frame_equal(fedavg.timeline, bmsfed.timeline)
    curves = bmsfed.metrics[bmsfed.metrics["metric"] != "modality_ratio"].reset_index(drop=True)
    pd.testing.assert_frame_equal(fedavg.metrics, curves)


def test_everybody_without_enhancement_is_fedavg_after_a_probe(scenario_with, tmp_path):
    probed = {"name": f"{__name__}:ProbedFedAvg"}
    bare = {"name": "bmsfed", "enhancement": False, "chi": None}
    fedavg, bmsfed = run(scenario_with(ROUNDS), tmp_path, probed, bare)
    assert by_version(fedavg)["version"].max() == 3
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(bmsfed))


def test_everybody_without_enhancement_is_fedavg_where_a_batch_is_the_whole_shard(scenario_with, tmp_path):
    # the order of samples then matters to rounding only, so the window that the probe used up does not show
    given = scenario_with({**ROUNDS, "training.batch_size": 1000, "training.window_samples": None})
    fedavg, bmsfed = run(given, tmp_path, {"name": "fedavg"}, {"name": "bmsfed", "enhancement": False, "chi": None})
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(bmsfed), rtol=1e-4, atol=5e-3)


def test_the_code_rule_without_uni_modal_clients_is_divfl(scenario_with, tmp_path):
    given = scenario_with({**ROUNDS, "clients.count": 8})
    server = {"clients_per_round": 3}
    bare = {"name": "bmsfed", "enhancement": False, "chi": None, "rule": "code", "server": server}
    divfl, bmsfed = run(given, tmp_path, {"name": "divfl", "gradients": "encoders", "server": server}, bare)
    pd.testing.assert_frame_equal(by_version(divfl), by_version(bmsfed))


def test_the_probe_costs_everybody_a_download_an_epoch_and_an_upload(scenario_with, tmp_path):
    # gray after 2 s, color after 5 s, no latency, one speed; two local epochs, of which the probe makes one:
    #   client 0  |download|wait gray|wait color|train 1 epoch|upload|download ...
    #   client 1  |download|wait gray|wait color|train 1 epoch|upload|idle ...
    constant = {"per_client": {"distribution": "constant", "value_s": 2.0}}
    given = scenario_with(
        {
            "world.arrival.gray": constant,
            "world.arrival.color": {"per_client": {"distribution": "constant", "value_s": 5.0}},
            "training.local_epochs": 2,
            "until": {"versions": 1},
        }
    )
    (record,) = run(given, tmp_path, {"name": "bmsfed", "server": {"clients_per_round": 2}}, timing_only=True)
    spans = record.timeline[record.timeline["kind"] != "merge"].sort_values(["client", "start_s"], kind="stable")
    probe_end_s = 0.0
    for _, mine in spans.groupby("client"):
        kinds = [k for k in mine["kind"] if k != "idle"]
        assert kinds[:5] == ["download", "wait", "wait", "train", "upload"]
        waits = mine[mine["kind"] == "wait"].iloc[:2]
        assert waits["end_s"].tolist() == pytest.approx([2.0, 5.0])
        probe_end_s = max(probe_end_s, mine[mine["kind"] == "upload"]["end_s"].iloc[0])
    later = spans[spans["start_s"] >= probe_end_s]
    downloads = later[later["kind"] == "download"]
    assert downloads["start_s"].tolist() == pytest.approx([probe_end_s] * 2)
    trained = spans[spans["kind"] == "train"].sort_values("start_s")
    assert len(trained) == 4 + 2
    # batches of 32 in windows of 32: one step in the probe; a round's second step costs as much again
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    method = BMSFed(BMSFedOptions())
    costs = CostModel(network, 32, method.broadcast(method.initial_memory(network, 4)))
    step = costs.step_flops(ModalEnhanced(MODALITIES), 32)
    assert trained["flops"].iloc[-1] - trained["flops"].iloc[0] == pytest.approx(step, rel=0.01)


LATE_COLOR = {
    "clients.count": 6,
    "clients.multimodal_fraction": 1.0,
    "world.arrival.gray": {"per_client": {"distribution": "constant", "value_s": 1.0}},
    "world.arrival.color": {"per_client": {"distribution": "constant", "value_s": 20.0}},
    "until": {"versions": 3},
}
EAGER = {"name": "bmsfed", "chi": 1.0, "rule": "code", "server": {"clients_per_round": 3}}
BOTH = {**EAGER, "chi": 1.5}  # some train both modalities, some the weak one alone


def test_uni_modal_clients_do_not_wait_and_send_their_modality_only(scenario_with, tmp_path):
    (record,) = run(scenario_with(LATE_COLOR), tmp_path, EAGER)
    spans = record.timeline
    alone = spans[spans["kind"] == "train_unimodal"]
    assert set(alone["modality"]) == {"gray"}  # gray is behind on these data, and early in this world
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    dense, prototypes = network.num_bytes(network.groups_of(("gray",))), 10 * 16 * 4
    for _, span in alone.iterrows():
        mine = spans[spans["client"] == span["client"]]
        (download,) = mine[(mine["kind"] == "download") & (mine["end_s"] < span["start_s"])].tail(1).itertuples()
        assert span["start_s"] == pytest.approx(download.start_s + 1.0)
        assert download.bytes == dense + 2 * prototypes + 4
        (upload,) = mine[(mine["kind"] == "upload") & (mine["start_s"] == span["end_s"])].itertuples()
        assert upload.bytes == dense + prototypes + 4 + 40 + 8


def test_without_a_threshold_nobody_trains_alone(scenario_with, tmp_path):
    (record,) = run(scenario_with(LATE_COLOR), tmp_path, {**EAGER, "chi": None})
    assert not (record.timeline["kind"] == "train_unimodal").any()


@pytest.fixture(scope="module")
def base(scenario_with, tmp_path_factory):
    given = scenario_with({**LATE_COLOR, "training.local_epochs": 2})
    (record,) = run(given, tmp_path_factory.mktemp("base"), BOTH)
    assert {"train", "train_unimodal"} <= set(record.timeline.query("version > 0")["kind"])
    return record


@pytest.mark.parametrize(
    "switch",
    [
        {"chi": None},
        {"rule": "paper"},
        {"enhancement": False},
        {"prototypes": "local"},
        {"selection": "uniform"},
        {"subset_size": 1},
        {"waiting": "first"},
        {"waiting": "opportunistic"},
        {"proximal": 0.5},
        {"selection": "uniform", "server": {"rule": "on_arrival"}},
        {"selection": "uniform", "server": {"rule": "buffered", "size": 2}},
        {"selection": "uniform", "server": {"rule": "on_arrival"}, "waiting": "first"},
    ],
    ids=str,
)
def test_every_switch_runs_and_changes_the_result(switch, base, scenario_with, tmp_path):
    given = scenario_with({**LATE_COLOR, "training.local_epochs": 2})
    (switched,) = run(given, tmp_path, {**BOTH, **switch})
    assert switched.metrics["value"].notna().all()
    assert not by_version(base)["value"].equals(by_version(switched)["value"])


def test_clients_with_one_modality_train_what_they_have(scenario_with, tmp_path):
    given = scenario_with({**LATE_COLOR, "clients.multimodal_fraction": 0.5, "world.faults.dropout_probability": 0.3})
    (record,) = run(given, tmp_path, EAGER)
    trained = record.timeline[record.timeline["kind"] == "train"]
    assert set(trained["modality"]) == {"gray", "color", "gray+color"}
    assert record.metrics["value"].notna().all()


def test_ratio_is_recorded(scenario_with, tmp_path):
    (record,) = run(scenario_with(LATE_COLOR), tmp_path, EAGER)
    ratios = record.metrics[record.metrics["metric"] == "modality_ratio"]
    assert set(ratios["modality"]) == {FUSED}
    assert ratios["value"].iloc[0] == 1.0
    assert ratios["value"].iloc[-1] != 1.0


def test_default_server_is_a_barrier():
    assert BMSFedOptions().server == Barrier()
