"""Pisces: who is sent out, by u_k = n_k l_k / (1 + mean staleness)^beta, and when the server merges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from paper_world import play
from updates import merged, model_of, update_of

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.fedbuff import FedBuff
from interlude.simulator.methods.pisces import PacedBuffer, Pisces, PiscesOptions, ReportsRmsLoss, Seen, utilities
from interlude.simulator.training.objective import Batch, Context
from interlude.simulator.training.values import Named

LOSS = Named("rms_loss")


def pisces(**options):
    return Pisces(PiscesOptions(**options))


def chosen(method, memory, idle, count, version=0):
    view = SelectionView(0, version, 0, idle, Population([np.arange(4)] * 9, [("a",)] * 9), memory)
    return list(method.select(view, count))


def seen(quality, *staleness):
    return Seen(torch.tensor(quality), len(staleness), sum(staleness))


# --- who --------------------------------------------------------------------------------------------------------------


def test_the_largest_utility_first():
    # u = 4; 9 / sqrt(1 + 8) = 3; 6 / sqrt(1 + (0 + 6) / 2) = 3 but for the mean: with the sum, 6 / sqrt(7) = 2.27
    memory = {1: seen(4.0, 0), 2: seen(9.0, 8), 3: seen(6.2, 0, 6)}
    assert chosen(pisces(), memory, [1, 2, 3], 2) == [1, 3]
    assert chosen(pisces(staleness_penalty=0.0), memory, [1, 2, 3], 2) == [2, 3]
    assert chosen(pisces(), memory, [2, 3], 1) == [3]


def test_clients_never_merged_come_first_and_in_no_order():
    memory = {1: seen(1e9, 0)}
    assert set(chosen(pisces(), memory, [1, 4, 5], 2)) == {4, 5}  # a utility of 0 would leave them out for ever
    firsts = {chosen(pisces(), {}, [1, 4, 5], 1, version)[0] for version in range(20)}
    assert firsts == {1, 4, 5}


def test_memory_counts_samples_and_the_mean_of_past_staleness():
    update = replace(update_of(1.0, num_samples=5, staleness=3), report={LOSS: torch.tensor(2.0)})
    method = pisces()
    memory = method.remember(method.remember({}, [update]), [replace(update, staleness=0)])
    assert memory == {0: Seen(torch.tensor(10.0), 2, 3)}
    assert utilities(memory, 1.0)[0] == pytest.approx(10 / 2.5)


def test_the_loss_is_the_root_of_the_mean_square_over_samples():
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (2,)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(6, *given.shape, generator=generator) for m, given in network.inputs.items()}
    model = network.initial_parameters(generator, torch.device("cpu"))
    labels, index = torch.randint(3, (6,), generator=generator), torch.arange(6)
    objective = ReportsRmsLoss(("gray", "color"))
    mask = torch.tensor([1.0, 1, 1, 1, 0, 0])
    prepared = objective.prepare(network, model, Batch(inputs, labels, index, mask), Context(model))
    probabilities = network(model, inputs).logits.softmax(dim=1)
    losses = [-probabilities[i, labels[i]].log().item() for i in range(4)]  # what is padded does not count
    assert prepared[LOSS].item() == pytest.approx((sum(loss**2 for loss in losses) / 4) ** 0.5, rel=1e-5)
    reported = objective.report(network, model, Batch(inputs, labels, index), Context(model, prepared=prepared))
    assert reported == prepared


# --- how --------------------------------------------------------------------------------------------------------------


def test_deltas_are_averaged_whatever_their_staleness():
    """Models 8 and 2, deltas 3 and 2: 10 + 5 / 2, not the mean of the models, 5; encoder.a of one update alone."""
    updates = [update_of(8.0, start=5.0, staleness=9), update_of(2.0, groups=("encoder.a", "head.bias"))]
    assert merged(pisces(), model_of(10.0), *updates) == [12.5, 13.0, 13.0, 12.5]


def test_a_pace_outside_5_to_15_is_refused(scenario_with):
    for pace in (4, 16):
        with pytest.raises(BadInputError, match="pace"):
            parse_scenario(scenario_with({"methods": [{"name": "pisces", "server": {"pace": pace}}]}))


# --- when -------------------------------------------------------------------------------------------------------------

AT_ONCE = {"gray": (0.0, 0.0), "color": (0.0, 0.0)}


def test_merges_keep_a_pace_that_the_slowest_client_sets():
    """Local rounds of 1 + 1 + 1 = 3 s and 1 + 18 + 1 = 20 s, one update per merge, two merges per slowest round.

    Client 0 returns at 3 s: its own round is the slowest known, so merges are 1.5 s apart at least: at 3, 6, ... 18.
    At 20 s client 1 returns; from then on merges are 10 s apart: 28, 38 s. What has come meanwhile is merged then.
    """
    entry = {"name": "fedbuff", "server": {"rule": "buffered", "size": 1, "pace": 2}}
    played = play(entry, 40.0, delays_s=AT_ONCE, step_s=(0.5, 9.0), method=FedBuff)
    moments = sorted({at_s for _, at_s, *_ in played.merges})
    assert moments == [3, 6, 9, 12, 15, 18, 28, 38]
    assert [client for client, at_s, *_ in played.merges if at_s == 28] == [1, 0, 0, 0]  # 20, 21, 24, 27 s


def test_without_a_pace_and_with_few_updates_it_is_a_buffer():
    def merges(**server):
        entry = {"name": "fedbuff", "server": {"rule": "buffered", "size": 3, **server}}
        return play(entry, 60.0, delays_s=AT_ONCE, step_s=(0.5, 9.0), method=FedBuff).merges

    assert merges() == merges(pace=1000)
    assert merges() != merges(pace=2)


def test_whole_runs_send_one_float_and_choose_among_idle_clients(scenario_with, tmp_path):
    entry = {"name": "pisces", "server": PacedBuffer(concurrency=2).model_dump()}
    changes = {"clients.count": 6, "methods": [entry], "until": {"versions": 6}, "evaluate.every_s": 1000}
    scenario = parse_scenario(scenario_with(changes))
    (record,) = run_scenario(scenario, runs=tmp_path / "trained", device="cpu", workers=1)
    (timed,) = run_scenario(scenario, runs=tmp_path / "timed", device="cpu", timing_only=True)
    model_bytes = 4 * (64 * 16 + 192 * 16 + 2 * (16 + 16 * 16 + 16) + 2 * 160 + 10)
    for one in (record, timed):
        uploads = one.timeline.query("activity == 'upload' and outcome == 'done'")
        assert set(uploads["bytes"]) == {model_bytes + 8 + 4}
        assert uploads.sort_values("end_s")["client"].head(6).nunique() == 6  # all are tried first
        assert one.timeline.query("activity == 'merge'").groupby("version").size().min() >= 3
