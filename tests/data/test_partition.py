"""Partitions: every sample belongs to exactly one client, the same for the same seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.partition import (
    DirichletPartition,
    IidPartition,
    LabelShardsPartition,
    NaturalPartition,
    QuantityPartition,
    hold_modalities,
    partition,
)
from interlude.simulator.errors import BadInputError

LABELS = np.repeat(np.arange(10), 50)
SUBJECTS = np.array([3, 9, 3, 4, 4, 3, 9, 12, 12, 12])


def dataset_of(labels, **more):
    samples = ({"x": torch.zeros(len(labels), 1)}, torch.as_tensor(np.asarray(labels)))
    return Dataset(train=samples, test=samples, num_classes=10, **more)


DATASET = dataset_of(LABELS)
BY_SUBJECT = dataset_of(np.zeros(10, int), keys={"subject": SUBJECTS})
IID = IidPartition(kind="iid")


def dirichlet(alpha=1.0, min_samples=2):
    return DirichletPartition(kind="dirichlet", alpha=alpha, min_samples=min_samples)


def quantity(min_samples=2, **shares):
    return QuantityPartition(kind="quantity", min_samples=min_samples, **shares)


def pieces(per_client):
    return LabelShardsPartition(kind="label_shards", per_client=per_client)


def natural(group=False, key="subject"):
    return NaturalPartition(kind="natural", key=key, group=group)


def assert_covers_once(shards, num_samples=500):
    assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(num_samples))
    assert all((np.diff(shard) > 0).all() for shard in shards)  # each sorted


def shared_or_refused(spec, num_clients):
    """Return shards that cover once; none where one sentence says why there are none."""
    try:
        shards = partition(spec, DATASET, num_clients, 0)
    except BadInputError as error:
        sentence = str(error)
    else:
        assert_covers_once(shards)
        return shards
    assert f"{num_clients} clients" in sentence
    assert "\n" not in sentence
    return []


@given(num_clients=st.integers(1, 500), seed=st.integers(0, 2**40))
def test_iid_shares_cover_once_and_differ_by_one_sample_at_most(num_clients, seed):
    shards = partition(IID, DATASET, num_clients, seed)
    assert len(shards) == num_clients
    assert_covers_once(shards)
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


@given(num_clients=st.integers(1, 8), alpha=st.floats(1.0, 1e3), seed=st.integers(0, 1000))
@settings(max_examples=50)
def test_mild_dirichlet_shares_cover_once_and_give_everybody_enough(num_clients, alpha, seed):
    shards = partition(dirichlet(alpha), DATASET, num_clients, seed)
    assert len(shards) == num_clients
    assert_covers_once(shards)
    assert min(map(len, shards)) >= 2


@given(num_clients=st.integers(1, 60), alpha=st.floats(1e-3, 1e3), min_samples=st.integers(1, 9))
@settings(max_examples=30)
def test_dirichlet_shares_cover_once_or_one_sentence_says_why_not(num_clients, alpha, min_samples):
    shards = shared_or_refused(dirichlet(alpha, min_samples), num_clients)
    assert all(len(shard) >= min_samples for shard in shards)


@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 1e8, 1e9])
def test_extreme_concentrations_either_share_or_say_so(alpha):
    shared_or_refused(dirichlet(alpha), 5)


@pytest.mark.parametrize("spec", [IID, dirichlet(), quantity(alpha=0.5), quantity(sigma=1.0), pieces(2)])
def test_shares_belong_to_the_seed(spec):
    first, again, other = (partition(spec, DATASET, 6, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_min_samples_are_respected_where_a_first_draw_would_not_do():
    careless = partition(dirichlet(alpha=0.2, min_samples=1), DATASET, 10, 0)
    careful = partition(dirichlet(alpha=0.2, min_samples=20), DATASET, 10, 0)
    assert min(map(len, careless)) < 20 <= min(map(len, careful))
    assert_covers_once(careful)


def test_small_alpha_is_skewed_and_large_alpha_is_not():
    def largest_class_share(alpha):
        shards = partition(dirichlet(alpha), DATASET, 5, 0)
        return np.mean([np.bincount(LABELS[shard], minlength=10).max() / len(shard) for shard in shards])

    # ten equal classes: a share of 0.1 each without skew
    assert largest_class_share(1e4) == pytest.approx(0.1, abs=0.02)
    assert largest_class_share(0.1) > 0.25


def test_no_client_gets_another_class_once_it_holds_more_than_its_share():
    # capacity 1.1 x 500 / 5 = 110; the class that crosses it can add all of its 50
    for seed in range(10):
        assert max(map(len, partition(dirichlet(0.5), DATASET, 5, seed))) < 110 + 50


def test_one_client_holds_everything():
    assert_covers_once(partition(dirichlet(), DATASET, 1, 0))


@pytest.mark.parametrize(
    ("spec", "num_clients", "needed"),
    [(IID, 501, 501), (dirichlet(min_samples=2), 251, 502), (dirichlet(min_samples=300), 2, 600)],
)
def test_more_than_there_is_is_one_sentence(spec, num_clients, needed):
    with pytest.raises(BadInputError) as caught:
        partition(spec, DATASET, num_clients, 0)
    for part in ("clients.count", f"{num_clients} clients", f"{needed} training samples", "has 500"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_share_that_no_draw_gives_is_one_sentence():
    # four of five clients would have to share what Dir(0.001) leaves, classes being given away whole
    with pytest.raises(BadInputError, match=r"alpha \(given 0.001\)"):
        partition(dirichlet(alpha=0.001, min_samples=10), DATASET, 40, 0)


def test_several_clients_can_share_one_value():
    spec = NaturalPartition(kind="natural", key="subject", clients_per_value=2)
    shards = partition(spec, BY_SUBJECT, 7, 0)  # the last value's second client is left out
    assert [set(SUBJECTS[shard]) for shard in shards] == [{s} for s in np.repeat(np.unique(SUBJECTS), 2)[:7]]
    assert sorted(np.concatenate(shards)) == list(range(len(SUBJECTS)))
    assert all(abs(len(a) - len(b)) <= 1 for a, b in zip(shards[:6:2], shards[1:6:2], strict=True))
    assert partition(spec, BY_SUBJECT, 7, 1)[0].tolist() != shards[0].tolist()


def test_sharing_one_value_has_its_bounds():
    shared = NaturalPartition(kind="natural", key="subject", clients_per_value=2)
    with pytest.raises(BadInputError, match=r"4 values of 'subject', each shared by 2 .* at most 8 clients"):
        partition(shared, BY_SUBJECT, 9, 0)
    with pytest.raises(BadInputError, match=r"clients_per_value: 10000 clients cannot share the \d+ samples"):
        partition(shared.model_copy(update={"clients_per_value": 10_000}), BY_SUBJECT, 2, 0)
    with pytest.raises(ValueError, match="not both"):
        NaturalPartition(kind="natural", key="subject", clients_per_value=2, group=True)


def test_naturally_each_client_holds_one_value():
    shards = partition(natural(), BY_SUBJECT, 4, 0)
    assert [shard.tolist() for shard in shards] == [[0, 2, 5], [3, 4], [1, 6], [7, 8, 9]]


def test_fewer_clients_than_values_hold_a_random_choice_of_values():
    chosen = {tuple(SUBJECTS[s[0]] for s in partition(natural(), BY_SUBJECT, 2, seed)) for seed in range(30)}
    assert chosen == {(3, 4), (3, 9), (3, 12), (4, 9), (4, 12), (9, 12)}
    assert all(len(set(SUBJECTS[shard])) == 1 for shard in partition(natural(), BY_SUBJECT, 2, 5))


@given(num_clients=st.integers(1, 4), seed=st.integers(0, 2**40))
def test_grouped_values_cover_once_and_stay_together(num_clients, seed):
    shards = partition(natural(group=True), BY_SUBJECT, num_clients, seed)
    assert len(shards) == num_clients
    assert_covers_once(shards, len(SUBJECTS))
    assert sum(len(set(SUBJECTS[shard])) for shard in shards) == 4


@pytest.mark.parametrize("group", [False, True])
def test_more_clients_than_values_is_one_sentence(group):
    with pytest.raises(BadInputError, match=r"clients.count: 5 clients, .* only 4 values of 'subject'"):
        partition(natural(group), BY_SUBJECT, 5, 0)


def test_an_unknown_key_is_named_with_those_that_are_known():
    with pytest.raises(BadInputError, match=r"'subjekt' .* keys are subject; did you mean 'subject'"):
        partition(natural(key="subjekt"), BY_SUBJECT, 2, 0)
    with pytest.raises(BadInputError, match="it has none"):
        partition(natural(), DATASET, 2, 0)


@given(
    num_clients=st.integers(1, 100),
    min_samples=st.integers(1, 5),
    shares=st.one_of(
        st.fixed_dictionaries({"alpha": st.floats(1e-3, 1e9)}), st.fixed_dictionaries({"sigma": st.floats(0, 10)})
    ),
)
@settings(max_examples=40)
def test_skewed_quantities_cover_once_and_give_everybody_enough(num_clients, min_samples, shares):
    shards = partition(quantity(min_samples, **shares), DATASET, num_clients, 0)
    assert len(shards) == num_clients
    assert_covers_once(shards)
    assert min(map(len, shards)) >= min_samples


def test_quantities_are_as_skewed_as_asked_and_classes_are_not():
    def sizes(**shares):
        return sorted(map(len, partition(quantity(**shares), DATASET, 5, 0)))

    assert sizes(sigma=0.0) == [100] * 5
    assert sizes(alpha=1e9) == [100] * 5
    assert sizes(sigma=2.0)[-1] > 2 * sizes(sigma=0.5)[-1] - 100
    largest = max(partition(quantity(alpha=0.1), DATASET, 5, 0), key=len)
    assert len(largest) > 250
    assert np.bincount(LABELS[largest]).min() > 0.5 * len(largest) / 10


@given(num_clients=st.integers(1, 50), per_client=st.integers(1, 10), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_label_shards_cover_once_and_hold_few_classes(num_clients, per_client, seed):
    shards = partition(pieces(per_client), DATASET, num_clients, seed)
    assert_covers_once(shards)
    # 500 samples in p pieces of at most ceil(500 / p): each spans at most so many borders of classes of 50
    most = per_client * (1 + -(-500 // (num_clients * per_client)) // 50 + 1)
    assert all(len(set(LABELS[shard])) <= most for shard in shards)


def test_ten_clients_with_one_piece_of_ten_classes_hold_one_class_each():
    shards = partition(pieces(1), DATASET, 10, 3)
    assert sorted(set(LABELS[shard]).pop() for shard in shards) == list(range(10))
    assert all(len(set(LABELS[shard])) == 1 for shard in shards)


def test_quantity_needs_exactly_one_distribution():
    for shares in ({}, {"alpha": 1.0, "sigma": 1.0}):
        with pytest.raises(ValueError, match="exactly one of"):
            quantity(**shares)


@given(
    fractions=st.dictionaries(st.sampled_from("abc"), st.floats(0.1, 1)),
    num_clients=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_each_modality_is_held_by_its_share_and_everybody_holds_one(fractions, num_clients, seed):
    held = hold_modalities(1.0, "abc", num_clients, seed, fractions)
    assert held == hold_modalities(1.0, "abc", num_clients, seed, fractions)
    assert all(held)
    for modality in "abc":
        least = round(fractions.get(modality, 1.0) * num_clients)
        single = sum(h == (modality,) for h in held)  # may hold it in place of nothing
        assert least <= sum(modality in h for h in held) <= least + single


def test_half_multimodal_leaves_a_quarter_to_each_modality_alone():
    held = hold_modalities(0.5, ("gray", "color"), 20, 0)  # BMSFed's modality incongruity
    assert [held.count(h) for h in (("gray", "color"), ("gray",), ("color",))] == [10, 5, 5]
