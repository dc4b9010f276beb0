"""The batched executor: what it trains together, what it frees, what it says."""

import gc

import pytest
import torch
from tiny_tasks import CPU, SHAPES, model_of, task_of

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.errors import TrainingError
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors import in_process
from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import choose_strategy, client_bytes
from interlude.simulator.training.merge import ClientUpdate, mix, weighted_mean
from interlude.simulator.training.spec import ExecutorSpec, OptimizerSpec, TrainingSpec


def live_models(network):
    """Return how many vectors of this network's parameters are alive, by the storage they look at."""
    gc.collect()
    size = network.layout.size
    tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor and o.device.type == "cpu"]
    return len({t.untyped_storage().data_ptr() for t in tensors if t.dim() == 1 and t.numel() == size})


def test_one_result_that_is_needed_trains_all_that_are_ready(network, executor):
    model = model_of(network)
    futures = [executor.submit(task_of(model, client)) for client in range(4)]
    futures[2].result()
    assert all(future.is_done for future in futures)


def test_a_task_that_starts_from_another_is_trained_in_the_same_wave(network, executor):
    model = model_of(network)
    first = executor.submit(task_of(model, 1))
    second = executor.submit(task_of(model, 1, start=first))
    other = executor.submit(task_of(model, 2))
    expected = executor.in_process.trainer.train([[task_of(model, 1), task_of(model, 1)]])[0]
    torch.testing.assert_close(second.result().parameters.flat, expected[1].parameters.flat)
    torch.testing.assert_close(first.result().parameters.flat, expected[0].parameters.flat)
    assert other.is_done


def test_a_result_that_cannot_be_asked_for_is_not_trained(network, executor):
    model = model_of(network)
    kept = executor.submit(task_of(model, 0))
    executor.submit(task_of(model, 1))
    trained = []
    train = executor.in_process.trainer.train
    executor.in_process.trainer.train = lambda chains: (
        trained.extend(task.client for chain in chains for task in chain) or train(chains)
    )
    kept.result()
    assert trained == [0]


def test_versions_that_are_not_needed_are_freed(network, executor):
    before = live_models(network)
    model = model_of(network)
    for _ in range(5):
        futures = [executor.submit(task_of(model, client)) for client in range(3)]
        model = network.layout.pack({n: v.clone() for n, v in futures[0].result().parameters.items()})
        del futures
    assert live_models(network) - before == 1


def test_an_evaluation_that_fails_can_fail_again(network, executor, monkeypatch):
    evaluation = executor.evaluate(model_of(network))

    def fails(*_):
        raise MemoryError("no more")

    monkeypatch.setattr(in_process, "evaluate_together", fails)
    for _ in range(2):
        with pytest.raises(MemoryError, match="no more"):
            evaluation.result()


def test_a_loss_that_is_not_finite_names_client_and_task(network, executor):
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=1e30))
    samples = (executor.in_process.trainer._inputs, executor.in_process.trainer._labels)
    diverging = BatchedExecutor(network, spec, 0, samples, EvaluationSets(samples), executor.strategy)
    with pytest.raises(TrainingError, match=r"client 2, local round 0, task 'joint' from model version 0"):
        diverging.submit(task_of(model_of(network), 2, num_steps=6)).result()


def test_evaluations_wait_for_each_other_and_equal_those_of_the_reference(network, executor):
    models = [model_of(network, seed) for seed in range(3)]
    pending = [executor.evaluate(model) for model in models]
    assert not any(evaluation.is_done for evaluation in pending)
    samples = (executor.in_process.trainer._inputs, executor.in_process.trainer._labels)
    reference = SequentialExecutor(network, executor._spec, 0, samples, executor._samples[1])
    for model, evaluation in zip(models, pending, strict=True):
        expected = reference.evaluate(model).result().rows()
        assert [row[:2] for row in evaluation.result().rows()] == [row[:2] for row in expected]
        assert [row[2] for row in evaluation.result().rows()] == pytest.approx([row[2] for row in expected])
        assert {"validation_loss", "nearest_mean_accuracy"} <= {metric for metric, _, _ in expected}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_between_submit_and_merge_waits_for_the_device(network):
    device = torch.device("cuda")
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(60, *shape, generator=generator).to(device) for m, shape in SHAPES.items()}
    samples = inputs, torch.randint(3, (60,), generator=generator).to(device)
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1))
    strategy = choose_strategy(ExecutorSpec(), network, device, 4)
    executor = BatchedExecutor(network, spec, 0, samples, EvaluationSets(samples), strategy)
    model = network.layout.pack(network.initial_parameters(torch.Generator().manual_seed(1), device))
    groups = tuple(network.groups)

    def merged(clients):
        futures = [executor.submit(task_of(model, client)) for client in clients]
        trained = executor.results(futures)
        updates = [ClientUpdate(c, groups, 5, 0, t.parameters, model, t.report) for c, t in enumerate(trained)]
        return mix(weighted_mean(model, updates), updates[0], dict.fromkeys(groups, 0.5))

    merged(range(4))  # what is done once, such as loading libraries, may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        merged(range(8))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_rule_loops_where_a_stack_would_not_pay_or_would_be_wrong():
    image = {"a": (1, 8, 8)}
    conv = Network(ModelSpec(encoder="conv4", width=8), image, 3)
    normed = Network(ModelSpec(encoder="conv4", width=8, norm="batch"), image, 3)
    small = Network(ModelSpec(encoder="mlp", width=8), image, 3)
    large = Network(ModelSpec(encoder="mlp", width=2048), image, 3)
    assert [choose_strategy(ExecutorSpec(), n, CPU, 4).stacks for n in (small, conv, normed, large)] == [True] + [
        False
    ] * 3
    assert not choose_strategy(ExecutorSpec(strategy="stacked"), normed, CPU, 4).stacks


def test_a_memory_limit_makes_groups_smaller(network):
    each = client_bytes(network, batch_size=4)
    assert each >= 4 * (4 * sum(shape.numel() for shape in network.shapes.values()) + 4 * 10)
    limited = choose_strategy(ExecutorSpec(memory_gb=3.5 * each / 1e9), network, CPU, 4)
    assert limited.group_size == 3
