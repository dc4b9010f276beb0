"""Checkpoint files: what they hold comes back as it was, and what is damaged is noticed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from interlude.models.packed import Packed, pack
from interlude.simulator.record.checkpoint import Checkpoints, DamagedError, read
from interlude.simulator.record.snapshot import CannotHoldError

CPU = torch.device("cpu")


class Weak(NamedTuple):
    modality: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Memory:
    residuals: Mapping[int, Any] = field(default_factory=dict)
    roles: tuple[Any, ...] = ()

    def __post_init__(self):
        assert not hasattr(self, "was_made"), "reading a file runs no code of a class"


def there_and_back(tmp_path, tree):
    checkpoints = Checkpoints(tmp_path / "checkpoint")
    checkpoints.save(7, tree)
    return next(checkpoints.usable(CPU, pytest.fail)).state


def test_a_tree_comes_back_as_it_was(tmp_path):
    tree = {
        3: Memory({0: {"a": None}, 12: {}}, (Weak("gray", 0.1 + 0.2), (1, [True, "x", -0.0])), ),
        "floats": [1e-310, float("inf"), 2**80],
        ("a", 1): {"nothing": ()},
    }  # fmt: skip
    back = there_and_back(tmp_path, tree)
    assert back == tree
    assert repr(back) == repr(tree)
    assert type(back[3].roles[0]) is Weak
    assert np.isnan(there_and_back(tmp_path / "other", [float("nan")])[0])


def test_tensors_come_back_to_the_bit_with_their_strides_and_what_they_share(tmp_path):
    base = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    base[0, 0] = float("nan")
    tree = {
        "base": base,
        "same": base,
        "turned": base.T,
        "part": base[7:9, 1:],
        "one": torch.zeros(()).expand(3, 3),
        "none": torch.empty(0, 4),
        "words": torch.arange(5, dtype=torch.int16),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }
    back = there_and_back(tmp_path, tree)
    for name, tensor in tree.items():
        assert torch.equal(back[name].contiguous().view(torch.uint8), tensor.contiguous().view(torch.uint8)), name
        assert (back[name].stride(), back[name].dtype) == (tensor.stride(), tensor.dtype), name
    assert back["same"] is back["base"]
    assert back["part"].untyped_storage().data_ptr() == back["turned"].untyped_storage().data_ptr()


def test_packed_parameters_come_back_packed(tmp_path):
    packed = pack({"encoder.gray.weight": torch.randn(3, 5), "head.bias": torch.randn(3)})
    back = there_and_back(tmp_path, packed)
    assert type(back) is Packed
    assert back.layout is packed.layout
    assert torch.equal(back.flat, packed.flat)


def test_of_a_large_tensor_only_what_is_looked_at_is_kept(tmp_path):
    bank = torch.zeros(1000, 1000)
    assert Checkpoints(tmp_path / "checkpoint").save(1, [bank[3], bank[900]]) < 20_000
    near = [bank[3, :5], bank[3, 6:]]  # in one cache line
    assert all(map(torch.equal, there_and_back(tmp_path / "near", near), near))


def test_what_cannot_be_held_is_named(tmp_path):
    with pytest.raises(CannotHoldError, match=r"cannot hold a builtins\.set"):
        Checkpoints(tmp_path / "checkpoint").save(1, {"memory": {1, 2}})


def test_the_last_two_are_kept_and_a_damaged_one_is_named_and_the_one_before_it_used(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoint")
    for number in (5, 50, 500):
        checkpoints.save(number, [number])
    newest, _ = checkpoints.files()
    assert [path.name[:12] for path in checkpoints.files()] == ["000000000500", "000000000050"]
    newest.write_bytes(newest.read_bytes()[:-1])
    said = []
    assert next(checkpoints.usable(CPU, said.append)).num_events == 50
    assert len(said) == 1
    assert newest.name in said[0]
    checkpoints.save(60, [60])
    assert [path.name[:12] for path in checkpoints.files()] == ["000000000060", "000000000050"]
    for path in checkpoints.files():
        path.write_bytes(b"")
    assert list(checkpoints.usable(CPU, said.append)) == []


def test_a_file_cut_or_changed_anywhere_is_noticed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoint")
    checkpoints.save(1, [torch.randn(20_000), "text"])
    (path,) = checkpoints.files()
    whole = path.read_bytes()
    assert read(path, CPU).num_events == 1
    for size in range(0, len(whole), 4096):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedError):
            read(path, CPU)
        flipped = bytearray(whole)
        flipped[size] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            read(path, CPU)


def test_a_file_that_names_a_class_of_its_own_choosing_makes_nothing(tmp_path, monkeypatch):
    """Even with the right checksum."""
    monkeypatch.setattr(Weak, "__module__", "antigravity")
    checkpoints = Checkpoints(tmp_path / "checkpoint")
    checkpoints.save(1, Weak("gray", 1.0))
    (path,) = checkpoints.files()
    with pytest.raises(DamagedError, match="is not a class of this run"):
        read(path, CPU)
