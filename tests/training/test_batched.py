"""Every method under every way to train: the same results as the plain sequential reference, and the same events."""

import dataclasses
import gc

import numpy as np
import pytest
import torch

import interlude.simulator.run.build
from interlude import parse_scenario, run_scenario
from interlude.models.network import ModelSpec, Network
from interlude.simulator.errors import TrainingError
from interlude.simulator.methods import METHODS
from interlude.simulator.scenario.loading import UntilSpec
from interlude.simulator.training import batched, jobs, recording
from interlude.simulator.training.executors.batched import BatchedExecutor
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.strategy import ExecutorSpec, Strategy, choose_strategy, client_bytes
from interlude.simulator.training.merge import ClientUpdate, mix, weighted_mean
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.optimizer import OptimizerSpec
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import LocalSteps, Task, Trained, TrainingSpec, resolve
from interlude.simulator.training.workers.pool import WorkerPool

TOLERANCE = 1e-4
"""Largest difference from the reference, relative to what training changed; float32 leaves about 1e-5."""

STACKED = Strategy(stacks=True, group_size=64, reason="test")
STRATEGIES = {
    "stacked": STACKED,
    "recorded": dataclasses.replace(STACKED, records=True),
    "looped": Strategy(stacks=False, group_size=1, reason="test"),
}


VARIANTS = {
    **{name: {"name": name} for name in METHODS},
    "conv4": {"name": "fedavg", "label": "conv4"},
    "schedule": {"name": "fedasync", "label": "schedule"},
    "mba-class-mean": {"name": "mba", "anchor": "class_mean", "anchor_weights": "imbalance", "unimodal_epochs": 2},
    "mba-squared": {"name": "mba", "distance": "squared", "proximal": 0.1},
    "fedogm-weights": {"name": "fedogm", "tensors": "weights"},
    "fedcmi-personal": {"name": "fedcmi", "personalised_branch": True},
    "bmsfed-local": {"name": "bmsfed", "prototypes": "local"},
    "fedmchain-ensemble": {"name": "fedmchain", "ec": "ensemble", "phase_epochs": 1},
}


class Witness(SequentialExecutor):
    """The reference, which keeps the tasks that it carried out, and their results."""

    seen: list

    def train(self, task):
        trained = super().train(task)
        self.seen.append((dataclasses.replace(task, start=resolve(task.start)), trained))
        Witness.last = self
        return trained


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory, scenario_with):
    """Return a function from a method to the reference executor of a small ragged run and the tasks it carried out."""
    runs = tmp_path_factory.mktemp("runs")
    known = {}

    def witness(name):
        if name not in known:
            scenario = ragged(scenario_with, VARIANTS[name], kind="sequential")
            Witness.seen = []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(interlude.simulator.run.build, "SequentialExecutor", Witness)
                run_scenario(scenario, runs=runs / name, device="cpu")
            known[name] = (Witness.last, Witness.seen)
        return known[name]

    return witness


def ragged(scenario_with, method, **executor):
    """Return a scenario whose clients differ in samples, steps and modalities, some of whose uploads break off."""
    changes = {
        "methods": [method],
        "executor": executor,
        "clients": {"count": 7, "multimodal_fraction": 0.75},
        "data.partition": {"kind": "dirichlet", "alpha": 1.0},
        "world.faults": {"dropout_probability": 0.1},
        "world.arrival.gray.jitter_sigma": 0.5,
        "training": {
            "local_epochs": 1,
            "batch_size": 64,
            "optimizer": {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.001},
        },
        "until": {"simulated_s": 45},
    }
    if method.get("label") == "conv4":
        changes["model"] = {"encoder": "conv4", "width": 8}
    if method.get("label") == "schedule":
        changes["training"]["optimizer"]["schedule"] = {"kind": "linear", "to": 0.005, "over_versions": 20}
    if method["name"] == "pow-d":
        changes["methods"] = [{**method, "candidates": 5, "server": {"rule": "barrier", "clients_per_round": 3}}]
    return parse_scenario(scenario_with(changes))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("method", VARIANTS)
def test_every_strategy_equals_the_reference(method, strategy, witnessed, monkeypatch):
    monkeypatch.setattr(recording, "_USES_BEFORE_RECORDING", 0)
    executor, seen = witnessed(method)
    tasks = [task for task, _ in seen][:24]
    trainer = StackedTrainer(
        executor._network, executor._spec, executor._seed, (executor._inputs, executor._labels), STRATEGIES[strategy]
    )
    groups = [tasks] if STRATEGIES[strategy].stacks else [[task] for task in tasks]
    results = [chain[0] for group in groups for chain in trainer.train([[task] for task in group])]
    assert len({len(task.samples) for task in tasks}) > 1
    for task, (_, expected), trained in zip(tasks, seen, results, strict=False):
        start = task.start
        moved = max((expected.parameters[n] - start[n]).abs().max().item() for n in start)
        apart = max((expected.parameters[n] - trained.parameters[n]).abs().max().item() for n in start)
        assert apart <= TOLERANCE * moved, task.label
        assert trained.loss == pytest.approx(expected.loss, rel=1e-4)
        assert {name: set(values) for name, values in trained.report.items()} == {
            name: set(values) for name, values in expected.report.items()
        }
        for name, values in expected.report.items():
            for modality, value in values.items():
                torch.testing.assert_close(trained.report[name][modality], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_series_are_learned_alike_under_every_strategy(strategy):
    network = Network(ModelSpec(encoder="conv1d", width=6), {"a": (3, 20), "b": (2, 17)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(30, *given.shape, generator=generator) for m, given in network.inputs.items()}
    samples = inputs, torch.randint(3, (30,), generator=generator)
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1, momentum=0.5))
    model = model_of(network)
    tasks = [
        Task(
            client,
            0,
            0,
            (LocalSteps(CrossEntropy(("a", "b")), 3, "joint"),),
            np.arange(10 * client, 10 * client + 9 - client),
            model,
            model,
        )
        for client in range(3)
    ]
    reference = SequentialExecutor(network, spec, 0, samples, samples)
    expected = [reference.train(task) for task in tasks]
    trainer = StackedTrainer(network, spec, 0, samples, STRATEGIES[strategy])
    groups = [tasks] if STRATEGIES[strategy].stacks else [[task] for task in tasks]
    results = [chain[0] for group in groups for chain in trainer.train([[task] for task in group])]
    for one, other in zip(expected, results, strict=True):
        for name, value in one.parameters.items():
            torch.testing.assert_close(other.parameters[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_event_log_is_the_same_under_every_executor_and_group_size(method, tmp_path, scenario_with):
    orders = set()
    for number, executor in enumerate([{"kind": "sequential"}, {}, {"group_size": 2}, {"strategy": "looped"}]):
        scenario = ragged(scenario_with, {"name": method}, **executor)
        scenario = scenario.model_copy(update={"until": UntilSpec(simulated_s=20)})
        (record,) = run_scenario(scenario, runs=tmp_path / str(number), device="cpu", workers=1)
        orders.add(record.info["totals"]["order_sha256"])
    assert len(orders) == 1


@pytest.mark.parametrize("method", ["fedavg", "mba", "bmsfed", "fedogm"])
def test_the_number_of_processes_changes_no_byte(method, tmp_path, scenario_with, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    scenario = ragged(scenario_with, {"name": method}, group_size=2)
    written = []
    for workers in (1, 3):
        (record,) = run_scenario(scenario, runs=tmp_path / str(workers), device="cpu", workers=workers)
        written.append((record.path / "metrics.csv").read_bytes())
    assert written[0] == written[1]


SHAPES = {"a": (6,), "b": (4,)}
JOINT = CrossEntropy(("a", "b"))


@pytest.fixture
def network():
    return Network(ModelSpec(encoder="mlp", width=5), SHAPES, num_classes=3)


@pytest.fixture
def executor(network):
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(60, *shape, generator=generator) for m, shape in SHAPES.items()}
    samples = inputs, torch.randint(3, (60,), generator=generator)
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1))
    return BatchedExecutor(network, spec, 0, samples, samples, choose_strategy(ExecutorSpec(), network, CPU, 4))


CPU = torch.device("cpu")


def model_of(network, seed=1):
    return network.layout.pack(network.initial_parameters(torch.Generator().manual_seed(seed), CPU))


def task_of(model, client=0, start=None, num_steps=2, samples=None):
    return Task(
        client=client,
        window=0,
        version=0,
        stints=(LocalSteps(JOINT, num_steps, "joint"),),
        samples=np.arange(client * 5, client * 5 + 5) if samples is None else np.array(samples),
        start=model if start is None else start,
        received=model,
    )


def with_help(executor, crew):
    """Return an executor like this one, whose waves of ten rows make five jobs."""
    strategy = dataclasses.replace(executor.strategy, group_size=2)
    return BatchedExecutor(executor.network, executor._spec, 0, executor.test, executor.test, strategy, crew)


def live_models(network):
    """Return how many vectors of this network's parameters are alive, by the storage they look at."""
    gc.collect()
    size = network.layout.size
    tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor and o.device.type == "cpu"]
    return len({t.untyped_storage().data_ptr() for t in tensors if t.dim() == 1 and t.numel() == size})


def test_one_result_that_is_needed_trains_all_that_are_ready(network, executor):
    model = model_of(network)
    promises = [executor.submit(task_of(model, client)) for client in range(4)]
    promises[2].result()
    assert all(promise.is_done for promise in promises)


def test_a_task_that_starts_from_another_is_trained_in_the_same_wave(network, executor):
    model = model_of(network)
    first = executor.submit(task_of(model, 1))
    second = executor.submit(task_of(model, 1, start=first))
    other = executor.submit(task_of(model, 2))
    expected = executor.trainer.train([[task_of(model, 1), task_of(model, 1)]])[0]
    torch.testing.assert_close(second.result().parameters.flat, expected[1].parameters.flat)
    torch.testing.assert_close(first.result().parameters.flat, expected[0].parameters.flat)
    assert other.is_done


def test_nobody_trains_what_nobody_can_ask_for(network, executor):
    model = model_of(network)
    kept = executor.submit(task_of(model, 0))
    executor.submit(task_of(model, 1))
    trained = []
    train = executor.trainer.train
    executor.trainer.train = lambda chains: (
        trained.extend(task.client for chain in chains for task in chain) or train(chains)
    )
    kept.result()
    assert trained == [0]


def test_versions_that_nobody_needs_are_freed(network, executor):
    before = live_models(network)
    model = model_of(network)
    for _ in range(5):
        promises = [executor.submit(task_of(model, client)) for client in range(3)]
        model = network.layout.pack({n: v.clone() for n, v in promises[0].result().parameters.items()})
        del promises
    assert live_models(network) - before == 1


def test_rows_of_the_arena_are_free_again_when_nobody_looks_at_them(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as crew:
        helped = with_help(executor, crew)
        model = model_of(network)
        promises = [helped.submit(task_of(model, client)) for client in range(10)]
        kept = promises[9].result().parameters["head.a.weight"]
        for promise in promises:
            promise.result()
        del promise, promises, model
        gc.collect()
        assert helped.arena.num_live <= 1
        expected = executor.trainer.train([[task_of(model_of(network), 9)]])[0][0].parameters["head.a.weight"]
        torch.testing.assert_close(kept, expected)


def test_answers_of_an_earlier_run_are_nobodys(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as crew:
        crew.wait()
        for seed in (1, 2, 3):
            model = model_of(network, seed)
            helped = with_help(executor, crew)
            promises = [helped.submit(task_of(model, client)) for client in range(10)]
            promises[0].result()  # and the run breaks off, with jobs still at the worker
            if seed == 3:
                results = [promise.result() for promise in promises]
            helped.close()
        expected = executor.trainer.train([[task_of(model, client)] for client in range(10)])
        for result, (other,) in zip(results, expected, strict=True):
            torch.testing.assert_close(result.parameters.flat, other.parameters.flat)


def test_a_client_that_starts_from_a_model_of_its_own_keeps_it_on_the_way_to_a_worker(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as crew:
        crew.wait()
        helped = with_help(executor, crew)
        received = model_of(network)
        own = [dict(model_of(network, seed=client + 2)) for client in range(10)]
        promises = [helped.submit(task_of(received, client, start=own[client])) for client in range(10)]
        results = [promise.result() for promise in promises]
        expected = executor.trainer.train([[task_of(received, client, start=own[client])] for client in range(10)])
        for result, (other,) in zip(results, expected, strict=True):
            torch.testing.assert_close(result.parameters.flat, other.parameters.flat)


def test_an_evaluation_that_fails_can_fail_again(network, executor, monkeypatch):
    evaluation = executor.evaluate(model_of(network))

    def fails(*_):
        raise MemoryError("no more")

    monkeypatch.setattr(jobs, "evaluate_together", fails)
    for _ in range(2):
        with pytest.raises(MemoryError, match="no more"):
            evaluation.result()


def test_a_worker_that_dies_is_done_without(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as crew:
        crew.wait()
        helped = with_help(executor, crew)
        model = model_of(network)
        for alive in (True, True, False):
            promises = [helped.submit(task_of(model, client)) for client in range(10)]
            if not alive:
                crew.workers[0].process.kill()
            results = [promise.result() for promise in promises]
        expected = executor.trainer.train([[task_of(model, client)] for client in range(10)])
        for result, (other,) in zip(results, expected, strict=True):
            torch.testing.assert_close(result.parameters.flat, other.parameters.flat)
        assert not crew.workers


def test_what_a_worker_cannot_do_is_one_sentence(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as crew:
        crew.wait()
        helped = with_help(executor, crew)
        first = [helped.submit(task_of(model_of(network), client)) for client in range(10)]
        [promise.result() for promise in first]
        promises = [helped.submit(task_of(model_of(network), client, samples=(900,))) for client in range(10)]
        helped.trainer.train = lambda chains: [[Trained(task.start) for task in chain] for chain in chains]
        with pytest.raises(TrainingError, match=r"a worker process failed: IndexError: .*"):
            [promise.result() for promise in promises]


def test_a_loss_that_is_not_finite_names_client_and_task(network, executor):
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=1e30))
    samples = (executor.trainer._inputs, executor.trainer._labels)
    diverging = BatchedExecutor(network, spec, 0, samples, samples, executor.strategy)
    with pytest.raises(TrainingError, match=r"client 2, local round 0, task 'joint' from model version 0"):
        diverging.submit(task_of(model_of(network), 2, num_steps=6)).result()


def test_evaluations_wait_for_each_other_and_equal_those_of_the_reference(network, executor):
    models = [model_of(network, seed) for seed in range(3)]
    pending = [executor.evaluate(model) for model in models]
    assert not any(evaluation.is_ready for evaluation in pending)
    samples = (executor.trainer._inputs, executor.trainer._labels)
    reference = SequentialExecutor(network, executor._spec, 0, samples, executor.test)
    for model, evaluation in zip(models, pending, strict=True):
        expected = reference.evaluate(model).result()
        assert evaluation.result().accuracy == pytest.approx(expected.accuracy)
        assert evaluation.result().loss == pytest.approx(expected.loss)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_between_submit_and_merge_waits_for_the_device(network):
    device = torch.device("cuda")
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(60, *shape, generator=generator).to(device) for m, shape in SHAPES.items()}
    samples = inputs, torch.randint(3, (60,), generator=generator).to(device)
    spec = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1))
    strategy = choose_strategy(ExecutorSpec(), network, device, 4)
    executor = BatchedExecutor(network, spec, 0, samples, samples, strategy)
    model = network.layout.pack(network.initial_parameters(torch.Generator().manual_seed(1), device))
    groups = tuple(network.groups)

    def merged(clients):
        promises = [executor.submit(task_of(model, client)) for client in clients]

        def rule():
            trained = [promise.result() for promise in promises]
            updates = [ClientUpdate(c, groups, 5, 0, t.parameters, model, t.report) for c, t in enumerate(trained)]
            return mix(weighted_mean(model, updates), updates[0], dict.fromkeys(groups, 0.5))

        return executor.merge(rule, model, promises)

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
