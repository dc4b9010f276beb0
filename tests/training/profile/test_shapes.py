"""Operations on shapes: what is asked once is not mistaken for something else."""

import subprocess
import sys

import pytest
import torch

from interlude.simulator.training.profile import shapes

ATEN = torch.ops.aten


def test_equal_numbers_of_other_types_are_other_operations():
    whole = torch.empty(2, 3, dtype=torch.int64, device="meta")
    results = [shapes.call(ATEN.mul.Scalar, (whole, factor), {})[0] for factor in (1, 1.0, True, 1)]
    assert [one.dtype for one in results] == [torch.int64, torch.float32, torch.int64, torch.int64]
    assert len({id(one) for one in results}) == 4  # never one tensor for two results


def test_flops_follow_the_shapes():
    def product(rows):
        return shapes.call(ATEN.mm.default, (torch.empty(rows, 5, device="meta"), torch.empty(5, 7, device="meta")), {})

    (small, small_flops), (large, large_flops), (again, again_flops) = product(2), product(6), product(2)
    assert (small.shape, large.shape, again.shape) == ((2, 7), (6, 7), (2, 7))
    assert (small_flops, large_flops, again_flops) == (2 * 2 * 5 * 7, 2 * 6 * 5 * 7, 2 * 2 * 5 * 7)


def test_shapes_that_depend_on_values_are_not_those_of_zeros():
    some, mask = torch.empty(4, 3, device="meta"), torch.empty(4, dtype=torch.bool, device="meta")
    rows = torch.empty(7, dtype=torch.int64, device="meta")
    assert shapes.call(ATEN.index.Tensor, (some, [rows]), {})[0].shape == (7, 3)
    with pytest.raises(RuntimeError):  # as the meta device says it, in place of no rows at all
        shapes.call(ATEN.index.Tensor, (some, [mask]), {})
    state = torch.get_rng_state()
    assert shapes.call(ATEN.rand_like.default, (some,), {})[0].shape == (4, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_memory_is_taken_for_a_large_result_of_small_arguments():
    many = 1 << 17  # squared, 64 GB
    column, row = torch.empty(many, 1, device="meta"), torch.empty(1, many, device="meta")
    for func, args in ((ATEN.mul.Tensor, (column, row)), (ATEN.mm.default, (column, row))):
        assert shapes.call(func, args, {})[0].shape == (many, many)
    made = {"device": torch.device("meta")}
    assert shapes.call(ATEN.zeros.default, ([many, many],), made)[0].shape == (many, many)


def test_operations_that_refuse_zeros_are_asked_of_the_meta_device():
    square = torch.empty(3, 3, device="meta")
    result, flops = shapes.call(ATEN.linalg_inv_ex.default, (square,), {"check_errors": True})
    assert flops == 0
    assert [one.shape for one in result] == [(3, 3), ()]


def test_a_run_does_not_load_the_compiler(tmp_path):
    code = (
        "import sys, interlude\n"
        "scenario = interlude.load_scenario('quickstart', ['until.simulated_s=5', 'methods=[{name: mba}]'])\n"
        f"interlude.run_scenario(scenario, runs={str(tmp_path)!r}, device='cpu', workers=1)\n"
        "assert 'torch._dynamo' not in sys.modules, 'two seconds of every process'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_depends_on_values_or_shares_a_tensor_is_done_itself():
    there = torch.empty(2, 3, device="meta")
    assert shapes.call(ATEN.t.default, (there,), {})[0]._is_view()
    assert shapes.call(ATEN.add_.Tensor, (there, there), {})[0] is there
    assert shapes.call(ATEN.add_.Tensor, (torch.ones(2), torch.ones(2)), {})[0].tolist() == [2.0, 2.0]
    assert shapes.call(ATEN.add.Tensor, (torch.ones(2), torch.ones(2)), {})[0].tolist() == [2.0, 2.0]
