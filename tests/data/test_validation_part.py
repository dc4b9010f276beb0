"""The validation part: as many of every class, subject or client, none of them a client's sample."""

import numpy as np
import pytest
import torch

from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.partition import (
    DirichletPartition,
    FilesPartition,
    IidPartition,
    LabelShardsPartition,
    NaturalPartition,
    QuantityPartition,
    partition,
)
from interlude.simulator.data.validation import validation_part
from interlude.simulator.errors import BadInputError

SUBJECTS = np.repeat([7, 3, 5], [40, 20, 60])
LABELS = np.tile([0, 0, 0, 1], 30)  # of every four, whoever's they are, one is of class 1
IID = IidPartition(kind="iid")
BY_SUBJECT = NaturalPartition(kind="natural", key="subject")


def dataset_of(labels=LABELS, subjects=SUBJECTS):
    samples = {"x": torch.zeros(len(labels), 1)}, torch.as_tensor(labels)
    return Dataset(train=samples, test=samples, num_classes=2, keys={"subject": subjects})


def counts(values):
    return dict(zip(*(array.tolist() for array in np.unique(values, return_counts=True)), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_every_class_loses_its_share_and_every_subject_too_where_clients_are_subjects(seed):
    part = validation_part(0.2, IID, dataset_of(), 4, seed)
    assert counts(LABELS[part]) == {0: 18, 1: 6}
    part = validation_part(0.2, BY_SUBJECT, dataset_of(), 3, seed)
    assert counts(SUBJECTS[part]) == {3: 4, 5: 12, 7: 8}
    assert counts(LABELS[part]) == {0: 18, 1: 6}
    assert (np.diff(part) > 0).all()
    assert part.tolist() == validation_part(0.2, BY_SUBJECT, dataset_of(), 3, seed).tolist()
    assert part.tolist() != validation_part(0.2, BY_SUBJECT, dataset_of(), 3, seed + 1).tolist()


def test_a_sample_alone_in_its_group_stays_a_clients():
    subjects = np.array([0, 1, 1, 2, 2, 2, 2, 3])
    for seed in range(20):
        part = validation_part(0.5, BY_SUBJECT, dataset_of(np.zeros(8, int), subjects), 4, seed)
        assert counts(subjects[part]) == {1: 1, 2: 2}


@pytest.mark.parametrize(
    "spec",
    [
        IID,
        DirichletPartition(kind="dirichlet", alpha=1.0, min_samples=2),
        LabelShardsPartition(kind="label_shards"),
        QuantityPartition(kind="quantity", alpha=1.0),
        BY_SUBJECT,
    ],
    ids=lambda spec: spec.kind,
)
def test_clients_share_all_other_samples(spec):
    part = validation_part(0.1, spec, dataset_of(), 3, 0)
    shards = partition(spec, dataset_of(), 3, 0, part)
    assert np.sort(np.concatenate([part, *shards])).tolist() == list(range(120))


def test_indices_in_partition_files_keep_their_meaning_and_every_client_loses_its_share(tmp_path):
    folder = tmp_path / "client-2-alpha-1"
    folder.mkdir()
    named = np.arange(0, 60), np.arange(60, 100)  # the last 20 are no client's
    for client, samples in enumerate(named):
        (folder / f"client-{client}.txt").write_text("\n".join(map(str, samples)))
    spec = FilesPartition(kind="files", path=tmp_path, alpha=1.0, partial=True)
    part = validation_part(0.1, spec, dataset_of(), 2, 0)
    shards = partition(spec, dataset_of(), 2, 0, part)
    assert [len(shard) for shard in shards] == [54, 36]
    assert all(set(shard) == set(samples) - set(part) for shard, samples in zip(shards, named, strict=True))


def test_a_part_of_no_sample_and_a_part_that_leaves_too_few_are_refused():
    with pytest.raises(BadInputError, match=r"^evaluate.validation: 0.001 of 120 training samples is no sample"):
        validation_part(0.001, IID, dataset_of(), 4, 0)
    part = validation_part(0.5, IID, dataset_of(), 61, 0)
    with pytest.raises(BadInputError, match=r"the data set has 60 beside the 60 of its validation part"):
        partition(IID, dataset_of(), 61, 0, part)
