"""Facility location: greedy steps by hand and against brute force, and the map of gradients."""

import math

import numpy as np
import pytest
import torch

from interlude.simulator.methods.facility_location import GradientMap, balanced_greedy, greedy, pseudo_gradient
from interlude.simulator.training.merge import ClientUpdate

# Five clients on two lines. Fused gradients: the middle one is client 2. Weak gradients: the middle one is client 0.
FUSED = np.abs(np.subtract.outer([0.0, 1, 2, 10, 12], [0.0, 1, 2, 10, 12]))
WEAK = np.abs(np.subtract.outer([6.0, 0, 5, 20, 30], [6.0, 0, 5, 20, 30]))
DOMINANCE = np.array([2.0, 1.0, 1.0, 1.0, 1.8])


def every_candidate(step, left):
    del step
    return left


def select(rule, num_selected, *, threshold=1.5, weak=WEAK, dominance=DOMINANCE):
    return balanced_greedy(
        FUSED, weak, dominance, range(5), num_selected, every_candidate, threshold=threshold, rule=rule
    )  # fmt: skip


def cost(distances, selected):
    return distances[:, list(selected)].min(axis=1).sum()


@pytest.mark.parametrize("seed", range(5))
def test_every_greedy_step_is_the_best_there_is(seed):
    points = np.random.default_rng(seed).normal(size=(7, 3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    selected = greedy(distances, range(7), 4, every_candidate)
    for step, client in enumerate(selected):
        before = selected[:step]
        best = min((c for c in range(7) if c not in before), key=lambda c: cost(distances, [*before, c]))
        assert client == best


def test_greedy_by_hand():
    # sums of rows: 25, 23, 22.. -> 2 first; then 3 leaves 2 + 1 + 0 + 0 + 2 = 5, as does 4: the first of equals
    assert greedy(FUSED, range(5), 2, every_candidate) == [2, 3]


def test_greedy_looks_at_its_subset_only_and_at_candidates_only():
    assert greedy(FUSED, [0, 1, 4], 1, every_candidate) == [1]
    assert greedy(FUSED, range(5), 2, lambda step, left: left[:1]) == [0, 1]
    assert greedy(FUSED, [3, 1], 5, every_candidate) == [1, 3]


def test_paper_rule_by_hand():
    # 1: k1 = 2 (cost 21), k2 = 0 (cost 45), imbalance 2 > 1.5: 0 -> S_W; w = (0, 6, 1, 14, 24)
    # 2: k2: 1 leaves 39, 2 leaves 43, 3 and 4 leave 17: 3, imbalance 1: 3 -> S_M; u = (10, 9, 8, 0, 2),
    #    w = (0, 6, 1, 0, 10)
    # 3: k1 = 1 (leaves 4), k2: 1 leaves 11, 2 leaves 15, 4 leaves 7: 4, imbalance 1.8: 4 -> S_W
    assert select("paper", 1) == ([], [0])
    assert select("paper", 2) == ([3], [0])
    assert select("paper", 3) == ([3], [0, 4])


def test_code_rule_by_hand():
    # 1: as in the paper. 2: k2 = 3 stays below the threshold, so k1 = 2 -> S_M and w stays (0, 6, 1, 14, 24)
    # 3: k2 = 3 again, so k1 -> S_M: 1 leaves 19, 3 and 4 leave 5: 3
    assert select("code", 1) == ([], [0])
    assert select("code", 2) == ([2], [0])
    assert select("code", 3) == ([2, 3], [0])


def test_literal_rule_by_hand():
    # 1: k1 = 2 -> S_M, k2 = 0 (costs as in the paper's rule), imbalance 2 > 1.5: 0 -> S_W;
    #    u = (2, 1, 0, 8, 10), w = min of columns 2 and 0: (0, 5, 0, 14, 24)
    # 2: k1: 0 leaves 19, 1 leaves 19, 3 leaves 2 + 1 + 0 + 0 + 2 = 5, 4 leaves 2 + 1 + 0 + 2 + 0 = 5: 3 -> S_M;
    #    k2: 1 leaves 38, 3 leaves 0 + 5 + 0 + 0 + 10 = 15, 4 leaves 0 + 5 + 0 + 10 + 0 = 15: 3 as well
    # 3: u = (2, 1, 0, 0, 2), w = (0, 5, 0, 0, 10): k1: 1 leaves 3, as does 4: 1 -> S_M; k2: 1 leaves 10, 4 leaves 5: 4,
    #    imbalance 1.8: 4 -> S_W
    assert select("literal", 1) == ([2], [])  # room for k1 only
    assert select("literal", 2) == ([2], [0])
    assert select("literal", 3) == ([2, 3], [0])
    assert select("literal", 5) == ([2, 3, 1], [0, 4])
    # below the threshold k2 trains everything, too
    assert select("literal", 2, threshold=2.0) == ([2, 0], [])


def test_who_is_best_for_both_trains_everything_in_the_paper_and_alone_in_the_code():
    very = np.full(5, 9.0)
    assert select("paper", 1, weak=FUSED, dominance=very) == ([2], [])
    assert select("literal", 1, weak=FUSED, dominance=very) == ([2], [])
    assert select("code", 1, weak=FUSED, dominance=very) == ([], [2])


@pytest.mark.parametrize("rule", ["paper", "code", "literal"])
def test_above_any_threshold_no_client_trains_alone(rule):
    multimodal, unimodal = select(rule, 4, threshold=math.inf)
    assert (len(multimodal), unimodal) == (4, [])


def test_the_code_rule_without_uni_modal_clients_is_divfl():
    assert select("code", 4, threshold=math.inf)[0] == greedy(FUSED, range(5), 4, every_candidate)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", ["paper", "code"])
def test_balanced_steps_against_brute_force(seed, rule):
    random = np.random.default_rng(seed)
    fused, weak = (np.abs(np.subtract.outer(x, x)) for x in random.normal(size=(2, 6)))
    dominance = random.uniform(0.5, 3.0, size=6)
    multimodal: list[int] = []
    unimodal: list[int] = []
    for step in range(5):
        left = [c for c in range(6) if c not in multimodal + unimodal]
        known = multimodal + unimodal if rule == "paper" else unimodal
        first = min(left, key=lambda c: cost(fused, [*multimodal, c]))
        second = min(left, key=lambda c: cost(weak, [*known, c]))
        if rule == "paper" and (first == second or dominance[second] <= 1.5):
            multimodal.append(second)
        elif dominance[second] > 1.5:
            unimodal.append(second)
        else:
            multimodal.append(first)
        found = balanced_greedy(fused, weak, dominance, range(6), step + 1, every_candidate, threshold=1.5, rule=rule)
        assert found == (multimodal, unimodal)


def test_only_rows_and_columns_of_those_who_sent_change():
    # 0 and 1 sent (0, 0) and (3, 4): 5 apart; silent 2 counts as zero
    first = GradientMap.empty(3).refreshed({0: torch.zeros(2), 1: torch.tensor([3.0, 4.0])})
    assert first.distances.tolist() == [[0, 5, 0], [5, 0, 5], [0, 5, 0]]
    # 2 sends (3, 0): 3 from 0, 4 from 1; the rest stays
    second = first.refreshed({2: torch.tensor([3.0, 0.0])})
    assert second.distances.tolist() == [[0, 5, 3], [5, 0, 4], [3, 4, 0]]
    assert first.distances.tolist() == [[0, 5, 0], [5, 0, 5], [0, 5, 0]]
    assert second.refreshed({}) is second


def test_a_pseudo_gradient_is_what_the_client_took_away():
    names = ("encoder.gray.w", "head.gray.weight")
    update = ClientUpdate(
        client=0,
        groups=("encoder.gray", "head.gray"),
        num_samples=1,
        staleness=0,
        parameters={name: torch.tensor([[1.0, 5.0]]) for name in names},
        start={name: torch.tensor([[2.0, 3.0]]) for name in names},
        report={},
    )
    assert pseudo_gradient(update, lambda group: group.startswith("encoder.")).tolist() == [1.0, -2.0]
    assert pseudo_gradient(update, lambda group: True).tolist() == [1.0, -2.0, 1.0, -2.0]
