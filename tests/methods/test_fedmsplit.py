"""FedMSplit: the graph by hand, own blocks, anchors, and whole runs."""

import math

import pytest
import torch
from safetensors.torch import load_file

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.methods.fedmsplit import FedMSplit, FedMSplitOptions, graph_weights
from interlude.simulator.run.build import build_testbed, executor_and_model
from interlude.simulator.run.spec import run_specs
from interlude.simulator.training.merge import ClientUpdate

GROUPS = ("encoder.a", "head.a", "encoder.b", "head.b")


def update(client, num_samples=1, **values):
    """Blocks of the given values, e.g. ``encoder_a=[1.0, 2.0]``."""
    parameters = {f"{name.replace('_', '.')}.w": torch.tensor(value) for name, value in values.items()}
    groups = tuple(name.replace("_", ".") for name in values)
    return ClientUpdate(client, groups, num_samples, 0, parameters, {}, {})


def merged(updates, memory=None):
    model = {f"{group}.w": torch.tensor([7.0]) for group in GROUPS}
    return FedMSplit(FedMSplitOptions()).advance(model, memory or {}, updates)


def test_one_shared_encoder_by_hand():
    # <w_0, w_0> / sqrt(4) = 2, all other products 0: A_0 = (e^2, 1) / (e^2 + 1), A_1 = (1/2, 1/2).
    # One block, one shared modality: q = A * A / 2, so q_0 ~ (e^4, 1) and q_1 ~ (1, 1).
    updates = [update(0, encoder_a=[1.0] * 4), update(1, num_samples=3, encoder_a=[0.0] * 4)]
    a = math.exp(2) / (math.exp(2) + 1)
    q = graph_weights(updates)["encoder.a"].exp()
    torch.testing.assert_close(q, torch.tensor([[a**2 / 2, (1 - a) ** 2 / 2], [1 / 8, 1 / 8]]))
    model, memory = merged(updates)
    own = math.exp(4) / (math.exp(4) + 1)  # 0.98201
    assert memory[0].blocks["encoder.a.w"].tolist() == pytest.approx([own] * 4)
    assert memory[1].blocks["encoder.a.w"].tolist() == pytest.approx([0.5] * 4)
    # the global model: their plain mean, whatever the numbers of samples
    assert model["encoder.a.w"].tolist() == pytest.approx([(own + 0.5) / 2] * 4)  # 0.74101
    assert model["encoder.b.w"].tolist() == [7.0]  # no client holds it


def test_closeness_in_one_block_counts_in_the_other():
    # encoder: scores of 0 are (ln 3)^2 = 1.2069 with itself, 0 with 1: A = (e^1.2069, 1) / (e^1.2069 + 1)
    # head: all zeros: A = (1/2, 1/2).  q_enc ~ A_enc (A_enc + 1/2), q_head ~ 1/2 (A_enc + 1/2)
    updates = [
        update(0, encoder_a=[math.log(3)], head_a=[0.0]),
        update(1, encoder_a=[0.0], head_a=[0.0]),
    ]
    a = math.exp(math.log(3) ** 2) / (math.exp(math.log(3) ** 2) + 1)
    q = {block: value.exp()[0].tolist() for block, value in graph_weights(updates).items()}
    assert q["encoder.a"] == pytest.approx([a * (a + 0.5) / 2, (1 - a) * (1.5 - a) / 2])
    assert q["head"] == pytest.approx([0.5 * (a + 0.5) / 2, 0.5 * (1.5 - a) / 2])


def test_clients_share_the_head_slices_and_encoders_of_common_modalities_only():
    # 0 holds a and b, 1 only a: client 0 alone holds b, so it keeps b.
    updates = [
        update(0, encoder_a=[0.0], head_a=[0.0], encoder_b=[5.0], head_b=[3.0]),
        update(1, encoder_a=[0.0], head_a=[4.0]),
    ]
    _, memory = merged(updates)
    assert memory[0].blocks["encoder.b.w"].tolist() == [5.0]
    assert memory[0].blocks["head.b.w"].tolist() == [3.0]
    assert set(memory[1].blocks) == {"encoder.a.w", "head.a.w"}
    # the head's products: (0, 0) over both slices 9 / sqrt(2); (0, 1) over slice a 0; (1, 1) 16.
    head_00 = 9 / math.sqrt(2)
    a_head = math.exp(head_00) / (math.exp(head_00) + 1)
    # shared: 2 modalities with itself, 1 with client 1; A_enc.a = 1/2 each, A_enc.b = 1 with itself.
    q_self = a_head * (0.5 + 1.0 + a_head) / 3
    q_other = (1 - a_head) * (0.5 + 1 - a_head) / 2
    assert memory[0].blocks["head.a.w"].item() == pytest.approx(4.0 * q_other / (q_self + q_other), rel=1e-4)


def test_clients_without_a_common_modality_keep_their_blocks():
    updates = [update(0, encoder_a=[1.0], head_a=[2.0]), update(1, encoder_b=[3.0], head_b=[4.0])]
    model, memory = merged(updates)
    assert [memory[0].blocks[f"{group}.w"].item() for group in GROUPS[:2]] == [1.0, 2.0]
    assert [memory[1].blocks[f"{group}.w"].item() for group in GROUPS[2:]] == [3.0, 4.0]
    assert [model[f"{group}.w"].item() for group in GROUPS] == [1.0, 2.0, 3.0, 4.0]


def test_large_blocks_do_not_drown_their_holders():
    # a score difference of 250 is nothing in float32 after a softmax; client 0 still gets a sensible block
    updates = [update(0, encoder_a=[1.0] * 4), update(1, encoder_a=[500.0] * 4)]
    _, memory = merged(updates)
    assert memory[0].blocks["encoder.a.w"].isfinite().all()
    assert memory[0].blocks["encoder.a.w"].tolist() == [500.0] * 4


def test_the_global_model_is_of_this_rounds_clients_and_the_others_keep_their_blocks():
    _, memory = merged([update(0, encoder_a=[1.0])])
    model, memory = merged([update(1, num_samples=3, encoder_a=[5.0])], memory)
    assert [memory[client].blocks["encoder.a.w"].item() for client in (0, 1)] == [1.0, 5.0]
    assert model["encoder.a.w"].item() == 5.0


def test_clients_start_from_their_own_blocks_and_are_drawn_to_the_global_model_before_their_last_merge():
    method = FedMSplit(FedMSplitOptions())
    version_0 = {f"{group}.w": torch.tensor([7.0]) for group in GROUPS}
    version_1, memory = method.advance(version_0, {}, [update(0, encoder_a=[1.0]), update(1, encoder_a=[2.0])])
    version_2, memory = method.advance(version_1, memory, [update(1, encoder_a=[4.0])])
    anchors = [method.model_for(version_2, memory, client) for client in range(3)]
    assert anchors[0] is version_0  # merged in round 1
    assert anchors[1] is version_1  # in round 2
    assert anchors[2] is version_2  # never
    starts = [method.start_for(anchor, memory, client) for client, anchor in enumerate(anchors)]
    for client in (0, 1):
        assert torch.equal(starts[client]["encoder.a.w"], memory[client].blocks["encoder.a.w"])
    assert starts[1]["encoder.a.w"].item() == 4.0
    assert starts[1]["encoder.b.w"].item() == 7.0  # which it never trained
    assert starts[2] is version_2


def test_the_second_step_of_a_run_by_hand(scenario_with, tmp_path):
    # One client, one step a round: own blocks are what it trained, w_1 = w_0 - lr g(w_0); its anchor in round 2 is w_0:
    # w_2 = w_1 - lr (g(w_1) + 2 lambda (w_1 - w_0)), so lambda moves w_2 by -2 lr lambda (w_1 - w_0).
    lr, block_weight = 0.05, 3.0

    def after(versions, weight):
        changes = {
            "clients.count": 1,
            "training.optimizer.learning_rate": lr,
            "methods": [{"name": "fedmsplit", "block_weight": weight}],
            "until": {"versions": versions},
        }
        scenario = parse_scenario(scenario_with(changes))
        (record,) = run_scenario(scenario, runs=tmp_path / f"{versions}-{weight}", workers=1)
        return scenario, load_file(record.path / "model.safetensors")

    scenario, first = after(1, block_weight)
    _, without = after(2, 0.0)
    _, second = after(2, block_weight)
    (spec,) = run_specs(scenario, tmp_path, torch.device("cpu"), timing_only=False)
    _, initial = executor_and_model(spec, build_testbed(scenario).ingredients(spec.options), None)
    for name, value in second.items():
        pulled = -2 * lr * block_weight * (first[name] - initial[name])
        torch.testing.assert_close(value - without[name], pulled, rtol=1e-3, atol=1e-6)


def test_the_block_term_is_lambda_times_the_squared_distance():
    # mu / 2 = lambda
    assert FedMSplit(FedMSplitOptions(block_weight=0.3)).proximal == pytest.approx(0.6)
    assert FedMSplit(FedMSplitOptions(block_weight=0.3, proximal=0.1)).proximal == pytest.approx(0.7)
    assert FedMSplit(FedMSplitOptions(block_weight=0.0)).proximal == 0.0


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_other_server_rules_are_refused_in_one_sentence(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"methods\.0\.server\.rule: must be 'barrier'; given '{rule}'") as error:
        parse_scenario(scenario_with({"methods": [{"name": "fedmsplit", "server": {"rule": rule}}]}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fusion", ["concat", "late_sum"])
def test_runs_with_incongruent_modalities_and_twice_the_same(fusion, scenario_with, tmp_path):
    changes = {
        "methods": [{"name": "fedmsplit", "server": {"clients_per_round": 3}}],
        "clients.multimodal_fraction": 0.5,
        "model.fusion": fusion,
    }
    scenario = parse_scenario(scenario_with(changes))
    first, second = (run_scenario(scenario, runs=tmp_path / name)[0] for name in "ab")
    assert first.info["totals"]["versions"] > 1
    assert (first.path / "metrics.csv").read_bytes() == (second.path / "metrics.csv").read_bytes()
    timed = run_scenario(scenario, runs=tmp_path / "c", timing_only=True)[0]
    assert timed.info["totals"]["order_sha256"] == first.info["totals"]["order_sha256"]


def test_blocks_travel_whole(scenario_with, tmp_path):
    changes = {"methods": [{"name": "fedavg"}, {"name": "fedmsplit"}]}
    scenario = parse_scenario(scenario_with(changes))
    fedavg, fedmsplit = run_scenario(scenario, runs=tmp_path, timing_only=True)
    for activity in ("download", "upload"):
        whole = f"activity == '{activity}' and outcome == 'done' and end_s < 30"
        sent = [r.timeline.query(whole)["bytes"].unique() for r in (fedavg, fedmsplit)]
        assert sent[0] == sent[1]
