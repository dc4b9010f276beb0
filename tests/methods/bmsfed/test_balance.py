"""What a BMSFed server remembers, merges and selects by, by hand."""

import math

import numpy as np
import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.bmsfed import BMSFed, BMSFedOptions
from interlude.simulator.methods.bmsfed.balance import Balance
from interlude.simulator.methods.bmsfed.options import Weak
from interlude.simulator.methods.facility_location import GradientMap
from interlude.simulator.training.merge import ClientUpdate
from interlude.simulator.training.values import named

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
        report=named("score", {m: torch.tensor(v) for m, v in (score or {}).items()}),
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
    memory = method.remember(memory, [first, second])
    assert memory.ratios().tolist() == pytest.approx([2.0, 0.5, 1.0])
    assert memory.ratio().item() == pytest.approx(0.875)
    # a uni-modal client refreshes its own half: 0.6 / 0.5 = 1.2; a client with one modality counts as 1
    third = arrived(2, gray=1.0, num_samples=4, score={"gray": 0.9})
    memory = method.remember(memory, [arrived(0, color=1.0, num_samples=1, score={"color": 0.5}), third])
    assert memory.ratios().tolist() == pytest.approx([1.2, 0.5, 1.0])
    assert memory.ratio().item() == pytest.approx((1.2 + 1.5 + 4.0) / 8)


def test_the_distance_of_all_modalities_has_heads_in_it_only_if_asked():
    # client 0 moved its encoders by (2, 4), its head's slices by (2, 4) and the bias by 4, client 1 nothing:
    # 4 + 16 in the encoders, 4 + 16 + 16 in the head
    for gradients, apart in (("model", math.sqrt(56)), ("encoders", math.sqrt(20))):
        method, memory = empty_memory(gradients=gradients)
        memory = method.remember(memory, [arrived(0, gray=2.0, color=4.0), arrived(1, gray=0.0, color=0.0)])
        assert memory.fused.distances[0, 1].item() == pytest.approx(apart)
        assert memory.single["color"].distances[0, 1].item() == 4.0
    assert BMSFedOptions().gradients == "encoders"


def test_distances_by_hand():
    # Probe, g = theta - theta_k: (-3, -4), (0, 0), and client 2, which holds gray only, (-6, none).
    method, memory = empty_memory()
    probed = [arrived(0, gray=3.0, color=4.0), arrived(1, gray=0.0, color=0.0), arrived(2, gray=6.0)]
    memory = method.remember(memory, probed)
    assert memory.fused.distances.tolist() == [[0, 5, 5], [5, 0, 6], [5, 6, 0]]
    assert memory.single["gray"].distances.tolist() == [[0, 3, 3], [3, 0, 6], [3, 6, 0]]
    assert memory.single["color"].distances.tolist() == [[0, 4, 4], [4, 0, 0], [4, 0, 0]]
    # later, 1 trains both and 0 only color: D^M moves with 1 alone, D^color with 0 alone
    memory = method.remember(memory, [arrived(1, gray=3.0, color=0.0), arrived(0, color=1.0)])
    assert memory.fused.distances.tolist() == [[0, 4, 5], [4, 0, 3], [5, 3, 0]]
    assert memory.single["gray"].distances.tolist() == [[0, 3, 3], [3, 0, 6], [3, 6, 0]]
    assert memory.single["color"].distances.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_every_group_is_merged_over_the_clients_that_trained_it():
    # gray: only 0, 4. color: (1 * 8 + 3 * 4) / 4 = 5. bias: 0 ends at 8, 1 at 4: 5
    method, memory = empty_memory()
    model = {n: torch.tensor([1.0]) for n in NAMES}
    updates = [arrived(0, gray=4.0, color=8.0, num_samples=1), arrived(1, color=4.0, num_samples=3, start=1.0)]
    merged = method.merge(model, memory, updates)
    expected = {"encoder.gray.w": 4, "head.gray.w": 4, "encoder.color.w": 5, "head.color.w": 5, "head.bias": 5}
    assert {n: v.item() for n, v in merged.items()} == expected


@pytest.mark.parametrize("rule", ["paper", "code", "literal"])
@pytest.mark.parametrize(("better", "worse"), [("gray", "color"), ("color", "gray")])
def test_the_threshold_is_mirrored(better, worse, rule):
    # Clients 0 and 1 score the better modality twice and 1.2 times as high: the global imbalance is above 1, and only
    # client 0 is above chi = 1.5. It is the middle one by the worse modality, client 1 by all: 0 trains that one alone.
    method, memory = empty_memory(rule=rule)
    updates = [
        arrived(0, **{better: 0.0, worse: 5.0}, score={better: 0.8, worse: 0.4}),
        arrived(1, **{better: 50.0, worse: 0.0}, score={better: 0.6, worse: 0.5}),
        arrived(2, **{better: 100.0, worse: 9.0}, score={better: 0.5, worse: 0.5}),
    ]
    view = SelectionView(
        seed=0,
        version=0,
        num_returned=3,
        idle=[0, 1, 2],
        population=Population([np.arange(1)] * 3, [("gray", "color")] * 3),
        memory=method.remember(memory, updates),
    )
    roles = method.select(view, 3)
    assert roles.keys() == {0, 1, 2}
    assert (roles[1], roles[2]) == (None, None)
    assert isinstance(roles[0], Weak)
    assert (roles[0].modality, roles[0].ratio) == (worse, pytest.approx(2.0))


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
    # a client that never reported c is not behind in it
    assert balance_of([0.6, 0.8], [0.2, 0.2], [0.0, 0.0]).ratios("c").tolist() == [1.0, 1.0]
    # a mean is over what was reported
    assert balance_of([0.6, 0.8], [0.2, 0.2], [0.0, 0.4]).lead_over("b") == pytest.approx([3.0, 3.0])
