"""Recorded functions: the same to the bit, new arguments every time, and never a number that was read on the way."""

import torch

from interlude.simulator.training.stacked.recording import Recorder


def step(weights, inputs):
    leaf = weights.detach().requires_grad_()
    with torch.enable_grad():
        losses = torch.vmap(lambda w, x: (x @ w).tanh().square().mean())(leaf, inputs)
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), gradient


def arguments(seed, num_rows=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, 5, 2, generator=generator), torch.randn(num_rows, 4, 5, generator=generator)


def test_a_replay_equals_the_function_to_the_bit_on_other_values_and_shapes():
    recorder = Recorder()
    for seed in range(6):
        for num_rows in (3, 2):
            given = arguments(seed, num_rows)
            for got, expected in zip(recorder.run("step", step, given), step(*given), strict=True):
                assert torch.equal(got, expected)


def test_a_function_that_comes_again_is_not_called_again():
    calls = []

    def counted(x):
        calls.append(x)
        return (x * 2 + torch.arange(3),)

    recorder = Recorder()
    for value in range(5):
        (result,) = recorder.run("counted", counted, (torch.full((3,), float(value)),))
        assert result.tolist() == [2 * value, 2 * value + 1, 2 * value + 2]
    assert len(calls) == 2


def test_a_function_that_reads_a_value_is_never_replayed():
    recorder = Recorder()
    for value in (1.0, 2.0, 3.0, 4.0):
        (result,) = recorder.run("reads", lambda x: (x * x.item(),), (torch.tensor(value),))
        assert result.item() == value**2


def test_one_tensor_given_twice_may_be_two_the_next_time():
    recorder = Recorder()
    one, other = torch.ones(3), torch.full((3,), 2.0)
    for first, second in ((one, one), (one, one), (one, other)):
        (result,) = recorder.run("difference", lambda a, b: (b - a,), (first, second))
        assert torch.equal(result, second - first)


def test_constants_start_anew_with_every_replay():
    def doubles(x):
        weights = torch.tensor([1.0, 2.0])
        weights *= 2
        return (x * weights,)

    recorder = Recorder()
    for _ in range(5):
        assert recorder.run("doubles", doubles, (torch.ones(2),))[0].tolist() == [2.0, 4.0]
