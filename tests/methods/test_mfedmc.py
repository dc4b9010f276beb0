"""MFedMC: priorities, who uploads what, training apart, what travels, and a plain mean as the limit."""

import math

import numpy as np
import pytest
import torch

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.mfedmc.method import MFedMC
from interlude.simulator.methods.mfedmc.objective import Apart, Sent
from interlude.simulator.methods.mfedmc.offers import Offers, priorities, spread
from interlude.simulator.methods.mfedmc.options import MFedMCOptions
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.values import Named

BOTH = ("gray", "color")
SIZES = {"gray": 100, "color": 300}


def trained(client, *, gray=None, color=None):
    """A client's answer of (impact, loss) for each modality."""
    report = {}
    for modality, given in {"gray": gray, "color": color}.items():
        if given is not None:
            report[Named("impact", modality)], report[Named("loss_alone", modality)] = map(torch.tensor, given)
    return ClientUpdate(client, (), 1, 0, {}, {}, report)


def offers(*updates, num_rounds=0, last=None):
    return Offers(SIZES, num_rounds, last or {}, {update.client: update for update in updates})


def selected(memory, asked=(), idle=(0, 1, 2, 3), **options):
    population = Population([np.arange(1)] * 4, [BOTH] * 4)
    view = SelectionView(0, 0, 0, list(idle), population, memory, list(asked))
    return MFedMC(MFedMCOptions(**options)).select(view, 4)


# --- priorities ------------------------------------------------------------------------------------------------------


def test_priorities_by_hand():
    # gray: 0.5 * 0 + 0.3 * (1 - 0) + 0.2 * 0.25; color: 0.5 * 1 + 0.3 * 0 + 0.2 * 1
    options = MFedMCOptions(impact_weight=0.5, size_weight=0.3, recency_weight=0.2)
    found = priorities({"gray": 0.0, "color": 1.0}, {"gray": 0.0, "color": 1.0}, {"gray": 0.25, "color": 1.0}, options)
    assert found == pytest.approx({"gray": 0.35, "color": 0.7})


def test_impacts_and_sizes_are_scaled_over_the_modalities_of_a_client():
    assert spread({"a": 2.0, "b": 5.0, "c": 3.0}) == pytest.approx({"a": 0.0, "b": 1.0, "c": 1 / 3})
    assert spread({"a": 2.0}) == {"a": 0.0}


def test_recency_counts_rounds_since_a_client_offered_a_modality():
    # round 3: gray in round 1: (3 - 1) / 4; color never: (3 + 1) / 4
    memory = offers(num_rounds=3, last={0: {"gray": 1}})
    assert [memory.recency(0, m) for m in BOTH] == [0.5, 1.0]
    # all alike but for that, color goes
    memory = offers(trained(0, gray=(0.2, 1.0), color=(0.1, 1.0)), num_rounds=3, last={0: {"gray": 1}})
    weights = {"impact_weight": 0.4, "size_weight": 0.0}
    assert selected(memory, [0], recency_weight=1.0, **weights) == {0: ("color",)}
    assert selected(memory, [0], recency_weight=0.7, **weights) == {0: ("gray",)}


# --- who uploads -----------------------------------------------------------------------------------------------------


def test_of_those_that_offer_a_modality_the_lowest_losses_upload_it():
    # by impact 0, 1, 2 offer gray and 3 color; half of three is two
    half = {"client_share": 0.5, "size_weight": 0.0}
    memory = offers(
        trained(0, gray=(0.4, 3.0), color=(0.1, 0.0)),
        trained(1, gray=(0.4, 1.0), color=(0.1, 0.0)),
        trained(2, gray=(0.4, 2.0), color=(0.1, 0.0)),
        trained(3, gray=(0.1, 0.0), color=(0.4, 5.0)),
    )
    assert selected(memory, range(4), **half) == {1: ("gray",), 2: ("gray",), 3: ("color",)}
    assert selected(memory, range(4), **half, losses="highest") == {
        0: ("gray",), 2: ("gray",), 3: ("color",)}  # fmt: skip
    # one that went off since is not asked: half of two is one
    assert selected(memory, [0, 1, 3], **half) == {1: ("gray",), 3: ("color",)}


def test_everybody_may_upload_everything():
    memory = offers(
        *(trained(client, gray=(0.4, 1.0), color=(0.1, 1.0)) for client in range(2)), trained(2, color=(0, 1.0))
    )
    found = selected(memory, range(3), modalities_per_client=2, client_share=1.0)
    assert found == {0: BOTH, 1: BOTH, 2: ("color",)}


def test_without_answers_small_encoders_of_some_clients_travel():
    found = selected(offers(), range(4), client_share=0.5)
    assert set(found.values()) == {("gray",)}
    assert len(found) == 2
    assert list(selected(offers(), [], idle=[2])) == [2]


# --- training apart --------------------------------------------------------------------------------------------------


@pytest.fixture
def sample(identity):
    """The identity network and a sample of class 0."""
    inputs = {"gray": torch.tensor([[2.0, 0.0]]), "color": torch.tensor([[0.0, 1.0]])}
    return *identity, Batch(inputs, torch.tensor([0]), torch.tensor([0]))


def test_each_modality_trains_as_if_there_were_no_other(sample):
    network, parameters, batch = sample

    def gradients(objective):
        names = [n for group in Apart(objective.modalities).groups(network) for n in network.groups[group]]
        leaves = {name: parameters[name].clone().requires_grad_() for name in names}
        loss = objective.loss(network, {**parameters, **leaves}, batch, Context(parameters))
        return dict(zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    together = gradients(Apart(BOTH))
    alone = gradients(CrossEntropy(("gray",))) | gradients(CrossEntropy(("color",)))
    assert together.keys() == alone.keys()
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, alone[name])
    assert "head.bias" not in together


def test_reported_losses_and_shapley_values_by_hand(sample):
    # margins: gray 2, color -1, both 1; p = sigmoid; phi_gray = (p_gray + p_both - p_color) / 2
    network, parameters, batch = sample
    report = Apart(BOTH).report(network, parameters, batch, Context(parameters))
    p_gray, p_color, p_both = (1 / (1 + math.exp(-margin)) for margin in (2.0, -1.0, 1.0))
    assert report[Named("loss_alone", "gray")].item() == pytest.approx(-math.log(p_gray))
    assert report[Named("loss_alone", "color")].item() == pytest.approx(-math.log(p_color))
    assert report[Named("impact", "gray")].item() == pytest.approx((p_gray + p_both - p_color) / 2)
    assert report[Named("impact", "color")].item() == pytest.approx((p_color + p_both - p_gray) / 2)


# --- merging ---------------------------------------------------------------------------------------------------------


def test_the_mean_is_plain_and_every_offer_counts_for_recency(sample):
    network, model, _ = sample
    method = MFedMC(MFedMCOptions())
    memory = method.initial_memory(network, 3)
    assert memory.sizes["gray"] == network.num_bytes(("encoder.gray", "head.gray"))
    own = {name: value + 1.0 for name, value in model.items()}
    answers = [trained(0, gray=(1.0, 1.0), color=(0.0, 1.0)), trained(1, gray=(0.0, 1.0), color=(1.0, 1.0))]
    answers = [ClientUpdate(u.client, (), 1, 0, own, model, u.report) for u in answers]
    memory = method.remember(memory, answers)
    assert method.start_for(model, memory, 0) is own
    assert method.start_for(model, memory, 2) is model
    groups = Sent(("gray",)).groups(network)
    sent = [
        ClientUpdate(client, groups, num_samples, 0, {n: v + change for n, v in model.items()}, model, {})
        for client, num_samples, change in ((0, 1, 1.0), (1, 9, 3.0))
    ]
    merged, memory = method.advance(model, memory, sent)
    for name, value in merged.items():
        torch.testing.assert_close(value, model[name] + (2.0 if ".gray." in name else 0.0))
    assert memory.num_rounds == 1
    assert {client: dict(of) for client, of in memory.last.items()} == {0: {"gray": 0}, 1: {"color": 0}}
    assert method.start_for(model, memory, 0) is model


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_other_server_rules_are_refused(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"server\.rule: must be 'barrier'; given '{rule}'"):
        parse_scenario(scenario_with({"methods": [{"name": "mfedmc", "server": {"rule": rule}}]}))


def test_only_what_is_asked_for_travels(scenario_with, tmp_path):
    given = scenario_with({"methods": [{"name": "mfedmc", "client_share": 0.5}], "until": {"versions": 2}})
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path, timing_only=True)
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    down, up = (sorted(record.timeline.query(f"activity == '{a}'")["bytes"]) for a in ("download", "upload"))
    whole, gray = network.num_bytes(network.groups_of(BOTH)), network.num_bytes(("encoder.gray", "head.gray"))
    # two rounds of four clients that answer with 4 floats and n_k, two of which send gray
    assert down == [whole] * 8
    assert up == [4 * 4 + 8] * 8 + [gray + 8] * 4
    assert len(record.timeline.query("activity == 'train'")) == 8  # what was trained is not trained again


def test_it_learns_and_modalities_take_turns(scenario_with, tmp_path):
    entry = {"name": "mfedmc", "client_share": 0.5, "recency_weight": 2.0}
    given = scenario_with({"methods": [entry], "until": {"versions": 6}, "evaluate.every_s": 3})
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path)
    losses = record.metrics.query("metric == 'loss'")["value"]
    assert losses.iloc[-1] < losses.iloc[0]
    sent = record.timeline.query("activity == 'upload' and bytes > 100")["bytes"]
    assert sent.nunique() > 1


def test_some_clients_of_all_train_in_a_round(scenario_with, tmp_path):
    server = {"clients_per_round": 2}
    given = scenario_with({"methods": [{"name": "mfedmc", "server": server}], "until": {"versions": 3}})
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path, timing_only=True)
    assert len(record.timeline.query("activity == 'download'")) == 6
