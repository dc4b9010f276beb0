"""The sequential executor against PyTorch's own optimiser, and the costs it is charged."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.errors import TrainingError
from interlude.simulator.training.batches import BatchOrders
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.timing_only import TimingOnlyExecutor
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.task import LocalSteps, Task, window_samples

SHAPES = {"a": (6,), "b": (4,)}
JOINT = CrossEntropy(("a", "b"))
NUM_SAMPLES = 10


@pytest.fixture
def network():
    return Network(ModelSpec(encoder="mlp", width=5), SHAPES, num_classes=3)


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(NUM_SAMPLES, *shape, generator=generator) for m, shape in SHAPES.items()}
    return inputs, torch.randint(3, (NUM_SAMPLES,), generator=generator)


def spec(**optimizer):
    return TrainingSpec(batch_size=4, optimizer=OptimizerSpec(**({"learning_rate": 0.1} | optimizer)))


def task(network, *steps, start=None):
    model = network.initial_parameters(torch.Generator().manual_seed(1), torch.device("cpu"))
    return Task(
        client=2,
        window=0,
        version=7,
        local_steps=steps,
        samples=np.arange(NUM_SAMPLES),
        start=model if start is None else start,
        received=model,
    )


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.9}, {"momentum": 0.9, "weight_decay": 0.01}])
def test_training_equals_torch_sgd_on_the_same_batches(network, samples, optimizer):
    executor = SequentialExecutor(network, spec(**optimizer), 0, samples, EvaluationSets(samples))
    given = task(network, LocalSteps(JOINT, 6, "joint"))
    parameters = {name: p.clone().requires_grad_() for name, p in given.start.items()}
    sgd = torch.optim.SGD(parameters.values(), lr=0.1, **optimizer)
    inputs, labels = samples
    for positions in BatchOrders(0, 4).batches(given, given.local_steps[0]).each():
        logits = network(parameters, {m: x[positions] for m, x in inputs.items()}).logits
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels[positions]).backward()
        sgd.step()
    trained = executor.submit(given).result()
    for name, expected in parameters.items():
        torch.testing.assert_close(trained.parameters[name], expected.detach())


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        # 1 -> 0.2 over ten versions; from there on it stays
        ({"kind": "linear", "to": 0.2, "over_versions": 10}, {0: 1.0, 5: 0.6, 10: 0.2, 50: 0.2}),
        # as BMSFed's code: constant, and then the line as if it had fallen all along
        ({"kind": "linear", "to": 0.2, "over_versions": 10, "constant_versions": 5}, {0: 1.0, 4: 1.0, 5: 0.6}),
        # BMSFed's rounds 0 to 80 in CG-MNIST's units of 0.01, then 1 - 0.9 round / 180
        (
            {"kind": "linear", "to": 0.1, "over_versions": 180, "constant_versions": 81},
            {0: 1.0, 80: 1.0, 81: 0.595, 179: 0.105},
        ),
        ({"kind": "steps", "at_versions": [2, 4], "factor": 0.5}, {1: 1.0, 2: 0.5, 3: 0.5, 4: 0.25}),
    ],
)
def test_the_learning_rate_falls_with_the_version_that_was_received(schedule, rates):
    optimizer = OptimizerSpec.model_validate({"learning_rate": 1.0, "schedule": schedule})
    assert {version: optimizer.rate_at(version) for version in rates} == pytest.approx(rates)


def test_one_step_at_a_version_is_the_gradient_times_its_rate(network, samples):
    schedule = {"kind": "steps", "at_versions": [7], "factor": 0.25}
    given = task(network, LocalSteps(JOINT, 1, "joint"))  # which starts from version 7
    sets = EvaluationSets(samples)
    full = SequentialExecutor(network, spec(), 0, samples, sets).submit(given).result().parameters
    less = SequentialExecutor(network, spec(schedule=schedule), 0, samples, sets).submit(given).result().parameters
    for name, start in given.start.items():
        torch.testing.assert_close(less[name] - start, 0.25 * (full[name] - start), rtol=1e-3, atol=1e-6)


def test_unimodal_training_changes_its_encoder_its_slice_and_the_bias_only(network, samples):
    given = task(network, LocalSteps(CrossEntropy(("a",)), 3, "unimodal-a"))
    trained = SequentialExecutor(network, spec(), 0, samples, EvaluationSets(samples)).submit(given).result().parameters
    changed = {name for name, value in trained.items() if not torch.equal(value, given.start[name])}
    assert {".".join(name.split(".")[:2]) for name in changed} == {"encoder.a", "head.a", "head.bias"}


def test_a_task_can_start_from_the_future_of_another(network, samples):
    executor = SequentialExecutor(network, spec(), 0, samples, EvaluationSets(samples))
    first = task(network, LocalSteps(JOINT, 3, "joint"))
    future = executor.submit(first)
    chained = executor.submit(task(network, LocalSteps(JOINT, 3, "other"), start=future)).result()
    direct = executor.submit(task(network, LocalSteps(JOINT, 3, "other"), start=future.result().parameters)).result()
    assert all(torch.equal(chained.parameters[n], direct.parameters[n]) for n in direct.parameters)


def test_local_steps_in_two_pieces_keep_the_batch_order(network):
    # 3 batches an epoch; steps 0..1 and then 2..4 are the five first batches
    given = task(network, LocalSteps(JOINT, 5, "p"))
    whole, first, rest = (
        BatchOrders(0, 4).batches(given, steps).each()
        for steps in (given.local_steps[0], LocalSteps(JOINT, 2, "p"), LocalSteps(JOINT, 3, "p", first_step=2))
    )
    assert [b.tolist() for b in whole] == [b.tolist() for b in first + rest]
    assert [len(b) for b in whole] == [4, 4, 2, 4, 4]
    assert sorted(np.concatenate(whole[:3])) == list(range(NUM_SAMPLES))


def test_a_batch_far_larger_than_the_window_is_no_larger_than_the_window(network):
    given = task(network, LocalSteps(JOINT, 2, "p"))
    batches = BatchOrders(0, 10**12).batches(given, given.local_steps[0])
    assert batches.positions.shape == (2, NUM_SAMPLES)
    assert all(sorted(batch) == list(range(NUM_SAMPLES)) for batch in batches.each())


def test_proximal_term_pulls_towards_the_received_model(network, samples):
    executor = SequentialExecutor(network, spec(), 0, samples, EvaluationSets(samples))
    far = executor.submit(given := task(network, LocalSteps(JOINT, 6, "joint"))).result().parameters
    near = executor.submit(task(network, LocalSteps(JOINT, 6, "joint", proximal=1.0))).result().parameters

    def drift(parameters):
        return sum((parameters[n] - given.received[n]).square().sum().item() for n in parameters)

    assert 0.0 < drift(near) < drift(far)


def test_a_loss_that_is_not_finite_names_client_and_task(network, samples):
    executor = SequentialExecutor(network, spec(learning_rate=1e30), 0, samples, EvaluationSets(samples))
    with pytest.raises(TrainingError, match=r"client 2, local round 0, task 'joint' from model version 7"):
        executor.submit(task(network, LocalSteps(JOINT, 6, "joint"))).result()


def test_timing_only_never_has_a_result(network):
    with pytest.raises(TrainingError, match="timing-only"):
        TimingOnlyExecutor().submit(task(network, LocalSteps(JOINT, 1, "joint"))).result()


def test_windows_take_turns_through_the_shard():
    shard = np.array([10, 11, 12, 13, 14])
    assert window_samples(shard, 1, 3).tolist() == [13, 14, 10]
    assert window_samples(shard, 9, None).tolist() == shard.tolist()


def test_step_flops_are_counted_by_hand(network):
    # Forward, batch 4: a 2*4*(6*5 + 5*5), b 2*4*(4*5 + 5*5), head 2*4*(5*3 + 5*3) = 440 + 360 + 240 = 1040.
    # Backward: weights cost the same again (1040), inputs of all but the first layers: 2*4*(25 + 25 + 15 + 15) = 640.
    assert CostModel(network, 4, {}).step(JOINT, 4).flops == 1040 + 1040 + 640


def test_unimodal_steps_cost_only_their_branch(network):
    # a: forward 440 + head slice 120; backward weights 560, inputs 2*4*(25 + 15) = 320
    assert CostModel(network, 4, {}).step(CrossEntropy(("a",)), 4).flops == 560 + 560 + 320


def test_a_task_costs_its_full_batches_and_the_rest(network):
    costs = CostModel(network, 4, {})
    cost = costs.of_task((LocalSteps(JOINT, costs.num_steps(10, epochs=2), "joint"),), 10)
    assert cost.flops == 4 * costs.step(JOINT, 4).flops + 2 * costs.step(JOINT, 2).flops
    assert cost.report_bytes == 0


def test_network_calls_equal_torch_functional_call(network, samples):
    parameters = network.initial_parameters(torch.Generator().manual_seed(2), torch.device("cpu"))
    inputs, _ = samples
    own = {n.removeprefix("encoder.a."): p for n, p in parameters.items() if n.startswith("encoder.a.")}
    expected = functional_call(network._modules["encoder.a"], own, (inputs["a"],))
    assert torch.equal(network.features(parameters, {"a": inputs["a"]})["a"], expected)
