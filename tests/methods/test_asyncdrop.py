"""Async-Drop: exact masks, one for each task; what is trained, mixed and sent under them; FedAsync without dropping."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from updates import update_of

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.asyncdrop import AsyncDrop, AsyncDropOptions, Masked, mask_of, masked_bytes, num_kept
from interlude.simulator.training.objective import Batch, Context, CrossEntropy
from interlude.simulator.training.values import Named

NETWORK = Network(ModelSpec(encoder="mlp", width=5), {"gray": (4,), "color": (3,)}, num_classes=3)
MODALITIES = ("gray", "color")


def mask(seed, dropped=0.5):
    flat = mask_of(NETWORK.layout, torch.tensor(seed), dropped)
    return {name: NETWORK.layout.shaped(flat[at], name) for name, at in NETWORK.layout.columns.items()}


def random_model(seed=0):
    return NETWORK.initial_parameters(torch.Generator().manual_seed(seed), torch.device("cpu"))


@pytest.mark.parametrize(("dropped", "kept"), [(0.0, 10), (0.5, 5), (0.55, 5), (0.7, 3), (0.9, 1), (0.99, 1)])
def test_as_many_weights_are_kept_as_the_share_says_however_floats_round(dropped, kept):
    # 10 - floor(10 p); (1 - 0.7) x 10 would be 3.0000000000000004, rounded up 4
    assert num_kept(10, dropped) == kept


@pytest.mark.parametrize("dropped", [0.0, 0.5, 0.8])
def test_a_mask_keeps_exactly_its_share_of_every_tensor(dropped):
    for name, ones in mask(7, dropped).items():
        assert ones.sum().item() == num_kept(NETWORK.shapes[name].numel(), dropped)
        assert set(ones.unique().tolist()) <= {0.0, 1.0}


def test_masks_are_drawn_anew_and_every_weight_is_as_likely():
    seeds = torch.arange(400) * 12345
    masks = torch.stack([mask_of(NETWORK.layout, seed, 0.5) for seed in seeds])
    assert len({tuple(row.tolist()) for row in masks}) == 400
    weights = NETWORK.layout.columns["encoder.gray.layers.1.weight"]
    shares = masks[:, weights].mean(dim=0)  # of 20 weights, 10 are kept: deviation sqrt(1/4 / 400) = 0.025
    assert (shares - 0.5).abs().max() < 4 * 0.025
    together = torch.vmap(lambda seed: mask_of(NETWORK.layout, seed, 0.5))(seeds[:5])
    assert torch.equal(together, masks[:5])  # many clients at once have the masks that each has alone


def test_the_loss_is_of_the_network_without_the_dropped_weights_which_have_no_gradient():
    seed, model = torch.tensor(3), random_model()
    batch = Batch(
        {"gray": torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), "color": torch.ones(6, 3)},
        torch.arange(6) % 3,
        torch.arange(6),
    )
    objective, broadcast = Masked(MODALITIES, 0.5), {Named("mask_seed"): seed}
    context = Context(model, broadcast, objective.prepare(NETWORK, model, batch, Context(model, broadcast)))
    ones = mask(3)
    thinned = {name: value * ones[name] for name, value in model.items()}
    leaves = {name: value.clone().requires_grad_() for name, value in model.items()}
    loss = objective.loss(NETWORK, leaves, batch, context)
    assert torch.equal(loss, CrossEntropy(MODALITIES).loss(NETWORK, thinned, batch, context))
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    assert all(not gradients[name][ones[name] == 0].any() for name in gradients)
    assert gradients["head.bias"][ones["head.bias"] == 1].all()


def test_only_kept_weights_of_trained_groups_are_mixed():
    """Alpha 0.6, three versions late: a = 0.6 / 2 = 0.3. From 10 to 20 that is 13 where the mask is 1, else 10."""
    model = {name: torch.full(shape.shape, 10.0) for name, shape in NETWORK.shapes.items()}
    groups = NETWORK.groups_of(("gray",))
    trained = {name: torch.full_like(value, 20.0) for name, value in model.items()}
    update = replace(update_of(0.0, groups=groups, staleness=3), parameters=trained, start=model, message=3)
    merged = AsyncDrop(AsyncDropOptions()).merge(model, None, [update])
    for name, ones in mask(3).items():
        is_trained = any(name in NETWORK.groups[group] for group in groups)
        torch.testing.assert_close(merged[name], 10.0 + 3.0 * ones * is_trained)


def test_kept_values_and_a_bitmap_are_sent():
    """Of head.gray [3, 5]: 15 - 7 = 8 values of 4 bytes and 15 bits, 2 bytes; of head.bias [3]: 2 values, 1 byte."""
    assert {name: shape.numel() for g in ("head.gray", "head.bias") for name, shape in NETWORK.shapes.items()
            if name in NETWORK.groups[g]} == {"head.gray.weight": 15, "head.bias": 3}  # fmt: skip
    assert masked_bytes(NETWORK, ("head.gray", "head.bias"), 0.5) == (8 * 4 + 2) + (2 * 4 + 1)


def run(scenario_with, tmp_path, *methods, **changes):
    changes = {"clients.count": 3, "until": {"versions": 9}, "methods": list(methods), **changes}
    return run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")


def test_without_dropping_it_is_fedasync_and_sends_bitmaps(scenario_with, tmp_path):
    """A bit for each weight of 32, and a few to fill bytes; they take no time on this link."""
    link = {"world.network": {"uplink_mbps": 1e99, "downlink_mbps": 1e99, "latency_ms": 50}}
    whole, fedasync = run(
        scenario_with, tmp_path, {"name": "async-drop", "dropped": 0.0}, {"name": "fedasync", "proximal": 0.0}, **link
    )
    pd.testing.assert_frame_equal(whole.metrics, fedasync.metrics)
    up = [r.timeline.query("activity == 'upload'")["bytes"] for r in (whole, fedasync)]
    assert 1 / 32 <= (up[0] / up[1] - 1).max() < 1.1 / 32


def test_half_of_the_weights_go_up_and_all_come_down(scenario_with, tmp_path):
    half, fedasync = run(scenario_with, tmp_path, {"name": "async-drop"}, {"name": "fedasync"})
    down, up = (
        [r.timeline.query(f"activity == '{way}'")["bytes"].iloc[0] for r in (half, fedasync)]
        for way in ("download", "upload")
    )
    assert down[0] == down[1]
    assert up[0] / up[1] == pytest.approx(0.5 + 1 / 32, abs=0.005)
    flops = [r.timeline.query("activity == 'train'")["flops"].iloc[0] for r in (half, fedasync)]
    assert flops[0] == flops[1]  # single weights left out save nothing
