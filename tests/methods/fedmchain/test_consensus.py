"""SSCA against numbers worked out on paper."""

import numpy as np
import pytest
import torch

from interlude.simulator.methods.fedmchain.consensus import (
    agreement,
    cluster,
    consensus,
    elected_mean,
    num_kept,
    sparse_bytes,
    sparsify,
)
from interlude.simulator.training.merge import ClientUpdate, weighted_mean

NAME = "encoder.a.weight"


def named(*rows):
    return [{NAME: torch.tensor(row)} for row in rows]


# --- sparsification --------------------------------------------------------------------------------------------------


def test_the_largest_magnitudes_are_kept_and_the_rest_is_the_residual():
    # 40 % of 5 values: 2, namely -4 and 3
    delta = torch.tensor([1.0, -4.0, 0.5, 3.0, -2.0])
    kept, residual = sparsify(delta, rho=0.4)
    assert kept.tolist() == [0.0, -4.0, 0.0, 3.0, 0.0]
    assert residual.tolist() == [1.0, 0.0, 0.5, 0.0, -2.0]


def test_of_equal_magnitudes_the_earlier_is_kept():
    kept, _ = sparsify(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), rho=0.5)
    assert kept.tolist() == [[1.0, -1.0], [0.0, 0.0]]


def test_nothing_is_lost_between_what_is_kept_and_what_is_left():
    delta = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    kept, residual = sparsify(delta, rho=0.2)
    assert torch.equal(kept + residual, delta)
    assert (kept != 0).sum() == 4  # round(0.2 * 21)


@pytest.mark.parametrize(("num_values", "rho", "expected"), [(10, 0.2, 2), (3, 0.01, 1), (1, 0.5, 1), (30, 0.1, 3)])
def test_a_tensor_always_keeps_something(num_values, rho, expected):
    assert num_kept(num_values, rho) == expected


# --- payload ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rho", "expected"),
    [
        # 6,400 values, 4 B each; the bitmap is 800 B, so indices pay below 1/32 = 200 values
        (100 / 6400, 100 * 4 + 100 * 4),
        (199 / 6400, 199 * 4 + 199 * 4),
        (200 / 6400, 200 * 4 + 800),  # the switch: both are 800 B
        (201 / 6400, 201 * 4 + 800),
        (0.2, 1280 * 4 + 800),
        (0.99, 6400 * 4),  # 6336 * 4 + 800 = 26,144 B would be more than the dense 25,600 B
        (1.0, 6400 * 4),
    ],
)
def test_positions_are_indices_or_a_bitmap_whichever_is_smaller(rho, expected):
    assert sparse_bytes([torch.empty(80, 80, device="meta")], rho) == expected


def test_a_group_has_one_bitmap_and_keeps_a_share_of_every_tensor():
    # 12 + 5 values: 6 + 2 kept (round(2.5) = 2), 8 * 4 B; the bitmap of 17 values is 3 B
    assert sparse_bytes([torch.empty(3, 4, device="meta"), torch.empty(5, device="meta")], 0.5) == 8 * 4 + 3


# --- agreement and clusters ------------------------------------------------------------------------------------------


def test_agreement_counts_signs_on_common_coordinates():
    # 0 and 1 share coordinates 0, 1, 3: same, different, same: 2/3. 0 and 2 share 0, 1: different both: 0.
    # 1 and 2 share 0, 1: different, same: 1/2.
    deltas = named([1.0, -1.0, 0.0, 2.0], [3.0, 1.0, 5.0, 1.0], [-1.0, 1.0, 0.0, 0.0])
    expected = [[1, 2 / 3, 0], [2 / 3, 1, 1 / 2], [0, 1 / 2, 1]]
    np.testing.assert_allclose(agreement(deltas), expected, rtol=1e-12)


def test_agreement_counts_over_all_tensors_together():
    # 1 of 2 in the first tensor, 1 of 1 in the second: 2/3
    deltas = [
        {"a": torch.tensor([1.0, 1.0]), "b": torch.tensor([1.0])},
        {"a": torch.tensor([1.0, -1.0]), "b": torch.tensor([2.0])},
    ]
    assert agreement(deltas)[0, 1] == pytest.approx(2 / 3)


def test_updates_without_a_common_coordinate_are_at_chance():
    assert agreement(named([1.0, 0.0], [0.0, 1.0]))[0, 1] == 0.5


def test_clusters_merge_by_average_linkage_while_the_mean_agreement_suffices():
    # 0-1 merge at 0.9. Then {0, 1} to 2: mean(0.7, 0.5) = 0.6; {0, 1} to 3: mean(0.3, 0.3) = 0.3; 2 to 3: 0.2.
    # {0, 1, 2} to 3: mean(0.3, 0.3, 0.2) = 0.2667.
    a = np.array([[1, 0.9, 0.7, 0.3], [0.9, 1, 0.5, 0.3], [0.7, 0.5, 1, 0.2], [0.3, 0.3, 0.2, 1]])
    assert cluster(a, 0.95) == [[0], [1], [2], [3]]
    assert cluster(a, 0.65) == [[0, 1], [2], [3]]
    assert cluster(a, 0.6) == [[0, 1, 2], [3]]  # at least a0: equal is enough
    assert cluster(a, 0.27) == [[0, 1, 2], [3]]
    assert cluster(a, 0.26) == [[0, 1, 2, 3]]


def test_one_update_is_one_cluster():
    assert cluster(np.ones((1, 1)), 0.9) == [[0]]


# --- election and merge ----------------------------------------------------------------------------------------------


def test_the_elected_sign_is_that_of_the_weighted_sum():
    # n = (1, 3)
    # coordinate 0: 1 * 4 + 3 * 2 = +10: both agree, mean (4 + 6) / 4 = 2.5
    # coordinate 1: 1 * 9 - 3 * 1 = +6: only the first agrees, 9
    # coordinate 2: 1 * 2 - 3 * 1 = -1: only the second, -1
    # coordinate 3: 0 and 3 * 2: only the second, 2 (a zero has no sign and does not dilute)
    # coordinate 4: 3 - 3 = 0: no sign is elected, 0
    deltas = torch.tensor([[4.0, 9.0, 2.0, 0.0, 3.0], [2.0, -1.0, -1.0, 2.0, -1.0]])
    assert elected_mean(deltas, torch.tensor([1.0, 3.0])).tolist() == [2.5, 9.0, -1.0, 2.0, 0.0]


def test_clusters_are_summed_by_their_samples():
    # 0 and 1 agree everywhere, 2 nowhere with them: clusters {0, 1} with 3 samples and {2} with 1.
    # {0, 1}: (1 * 1 + 2 * 4) / 3 = 3 and (1 * 2 + 2 * 2) / 3 = 2;  3/4 * (3, 2) + 1/4 * (-8, -4) = (0.25, 0.5)
    deltas = named([1.0, 2.0], [4.0, 2.0], [-8.0, -4.0])
    step, num_clusters = consensus(deltas, [1, 2, 1], least=0.55)
    assert num_clusters == 2
    torch.testing.assert_close(step[NAME], torch.tensor([0.25, 0.5]))


def arrived(delta, start, num_samples):
    return ClientUpdate(0, ("encoder.a",), num_samples, 0, {NAME: start + delta}, {NAME: start}, {})


@pytest.mark.parametrize(("signs", "least"), [("agree", 0.55), ("differ", 1.0)])
def test_dense_updates_that_agree_or_stand_alone_are_fedavg(signs, least):
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(6, 5, generator=generator)
    deltas = [torch.randn(6, 5, generator=generator) for _ in range(4)]
    if signs == "agree":
        deltas = [delta.abs() * deltas[0].sign() for delta in deltas]
    num_samples = [3, 1, 4, 2]
    step, num_clusters = consensus([{NAME: sparsify(d, 1.0)[0]} for d in deltas], num_samples, least)
    assert num_clusters == (1 if signs == "agree" else 4)
    fedavg = weighted_mean({NAME: start}, [arrived(d, start, n) for d, n in zip(deltas, num_samples, strict=True)])
    torch.testing.assert_close(start + step[NAME], fedavg[NAME])
