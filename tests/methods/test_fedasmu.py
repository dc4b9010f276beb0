"""FedASMU: alpha = mu xi / (1 + mu xi), xi = lambda / (sqrt(t) tau^(sigma/2)) + iota, and beta at clients, by hand."""

import math

import pytest
import torch
from updates import model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.methods.fedasmu import (
    _CONTROLS,
    _SLOPES,
    Controls,
    FedASMU,
    FedASMUOptions,
    Learned,
    TakesInFresh,
    client_mixing,
)
from interlude.simulator.training.objective import Batch, Context, CrossEntropy

BOTH = ("gray", "color")


def fedasmu(**options):
    return FedASMU(FedASMUOptions(**options))


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "controls", "version", "staleness", "alpha"),
    [
        ({}, Controls(), 0, 0, 1 / 2),  # the first merge of a fresh update: xi = 1 / (1 x 1), 1 / (1 + 1)
        ({}, Controls(), 3, 3, 1 / 5),  # t = 4, tau = 4: xi = 1 / (2 x 2)
        ({}, Controls(decay=0.0), 3, 3, 1 / 3),  # xi = 1 / 2 whatever the staleness
        ({}, Controls(scale=2.0, offset=0.5), 3, 3, 1 / 2),  # xi = 2 / 4 + 1 / 2
        ({"server_mixing": 3.0}, Controls(), 0, 0, 3 / 4),  # 3 / (1 + 3): never above 1
    ],
)
def test_the_mixing_weight_falls_with_merges_and_staleness(options, controls, version, staleness, alpha):
    memory = Learned(version, controls={0: controls})
    update = update_of(20.0, groups=("encoder.a", "head.bias"), staleness=staleness)
    following, learned = fedasmu(**options).advance(model_of(10.0), memory, [update])
    numbers = [value.item() for value in following.values()]
    assert numbers == pytest.approx([10 + alpha * 10, 10, 10, 10 + alpha * 10])
    assert (learned.version, learned.alpha) == (version + 1, pytest.approx(alpha))


@pytest.mark.parametrize(
    ("trained", "sign"),
    [(20.0, 1.0), (4.0, -1.0)],  # from 0, with the model at 10 by now: further in the client's direction, or back
)
def test_controls_follow_the_clients_own_direction(trained, sign):
    """t = tau = 4: xi = 1/4, dalpha/dxi = 1 / (1 + 1/4)^2 = 0.64; dxi/dsigma = -1/4 ln(4) / 2; the rate is 0.01."""
    update = update_of(trained, staleness=3)
    _, learned = fedasmu().advance(model_of(10.0), Learned(3, controls={7: Controls(5.0)}), [update])
    expected = (1 + sign * 0.0064 / 4, 1 - sign * 0.0064 * math.log(4) / 8, max(0.0, sign * 0.0064), 1.0, 0.0)
    assert learned.controls[0] == pytest.approx(expected)
    assert learned.controls[7] == Controls(5.0)  # another client's


def test_what_clients_report_moves_gamma_and_nu_and_no_control_gets_below_zero():
    update = update_of(0.0)
    update.report[_SLOPES] = torch.tensor([-2.0, 3.0])
    _, learned = fedasmu().advance(model_of(10.0), Learned(), [update])
    assert learned.controls[0][3:] == pytest.approx((1.02, 0.0))
    update.report[_SLOPES] = torch.tensor([300.0, -3.0])
    _, learned = fedasmu().advance(model_of(10.0), learned, [update])
    assert learned.controls[0][3:] == pytest.approx((0.0, 0.03))


# --- the client ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "nu", "start", "version", "scale", "beta"),
    [
        (1.0, 0.0, 4, 4, 1.0, 1 / 3),  # phi = 1 / 2
        (1.0, 0.5, 4, 4, 1.0, 1 / 5),  # nothing new: phi = 1/2 (1 - 0.5 / 1)
        (1.0, 0.5, 1, 4, 1.0, 3 / 11),  # three versions new: phi = 1/2 (1 - 0.5 / 2) = 3/8: the fresher, the more
        (2.0, 0.0, 4, 4, 2.0, 2 / 3),  # 2 x 2 / 2 / (1 + 2)
        (1.0, 0.0, 0, 0, 1.0, 1 / 2),  # version 0 counts as 1
        (1.0, 1.5, 4, 4, 1.0, 0.0),  # never away from the fresh model
        (0.0, 0.0, 4, 4, 1.0, 0.0),
        (1.0, 0.0, 4, 4, 0.0, 0.0),
    ],
)
def test_a_client_takes_in_more_of_a_fresher_model(gamma, nu, start, version, scale, beta):
    found, by_gamma, by_nu = client_mixing(gamma, nu, start, version, scale).tolist()
    assert found == pytest.approx(beta, abs=1e-6)
    if beta:
        apart = 1e-3
        more = client_mixing(gamma + apart, nu, start, version, scale)[0].item() - beta
        later = client_mixing(gamma, nu + apart, start, version, scale)[0].item() - beta
        assert beta * by_gamma == pytest.approx(more / apart, rel=1e-2)
        assert beta * by_nu == pytest.approx(later / apart, rel=1e-2)
    else:
        assert (by_gamma, by_nu) == (0, 0)


def test_training_goes_on_from_the_mixture_and_its_effect_is_reported():
    network = Network(ModelSpec(encoder="mlp", width=4), {"gray": (3,), "color": (2,)}, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(6, *given.shape, generator=generator) for m, given in network.inputs.items()}
    own, fresh = (network.initial_parameters(generator, torch.device("cpu")) for _ in range(2))
    index = torch.arange(6)
    window = Batch(inputs, index % 3, index)
    context = Context(fresh, {_CONTROLS: torch.tensor([0.25, 4.0, -8.0])})
    begun = TakesInFresh(("gray",)).begin(network, own, window, context)
    assert {name.split(".")[1] for name in begun} == {"gray", "bias"}  # what is not trained is not mixed
    for name, value in begun.items():
        torch.testing.assert_close(value, torch.lerp(own[name], fresh[name], 0.25))
    objective = TakesInFresh(BOTH)
    mixed = objective.begin(network, own, window, context)
    slopes = objective.prepare(network, mixed, window, context)
    after, before = (CrossEntropy(BOTH).loss(network, model, window, context) for model in (mixed, own))
    change = after - before
    assert slopes[_SLOPES].tolist() == pytest.approx([4 * change.item(), -8 * change.item()], rel=1e-3)


def test_a_second_download_is_charged_and_steps_are_shared(scenario_with, tmp_path):
    """Four steps a round: two, a download of the model and three floats, two; a fifth of them rounds up to one."""
    entries = [{"name": "fedasmu"}, {"name": "fedasmu", "request_at": 0.2, "label": "early"}]
    changes = {"training.local_epochs": 4, "methods": entries, "until": {"versions": 8}, "evaluate.every_s": 1000}
    scenario = parse_scenario(scenario_with(changes))
    trained = run_scenario(scenario, runs=tmp_path / "trained", device="cpu", workers=1)
    timed = run_scenario(scenario, runs=tmp_path / "timed", device="cpu", timing_only=True)
    model_bytes = 4 * (64 * 16 + 192 * 16 + 2 * (16 + 16 * 16 + 16) + 2 * 160 + 10)
    for one, other, share in zip(trained, timed, (1.0, 3.0), strict=True):
        assert one.timeline.equals(other.timeline)
        done = one.timeline.query("outcome == 'done' and activity not in ('idle', 'merge', 'wait')")
        first = done[done["client"] == 0].sort_values("start_s").head(5)
        assert first["activity"].tolist() == ["download", "train", "download", "train", "upload"]
        down, before, again, after, up = first.itertuples()
        assert (down.bytes, again.bytes, up.bytes) == (model_bytes + 12, model_bytes + 12, model_bytes + 8 + 8)
        assert down.end_s - down.start_s == pytest.approx(again.end_s - again.start_s)
        step = before.flops / (2 if share == 1 else 1)
        assert share < after.flops / before.flops < share + 1  # and two passes forward
        assert after.flops - share * before.flops < step
        assert again.version >= down.version


def test_without_mixing_and_learning_it_is_a_fedasync_that_downloads_twice(scenario_with, tmp_path):
    """Of one client at a time, tau = 1 and alpha = (1 / sqrt(t)) / (1 + 1 / sqrt(t)) by hand."""
    changes = {
        "clients.count": 1,
        "methods": [{"name": "fedasmu", "client_mixing": 0.0, "control_rate": 0.0}],
        "until": {"versions": 3},
        "evaluate.every_s": 4,
    }
    (record,) = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu", workers=1)
    alphas = record.metrics.query("metric == 'alpha'")["value"].unique().tolist()
    assert alphas[-1] == pytest.approx((1 / math.sqrt(3)) / (1 + 1 / math.sqrt(3)))
    assert (record.timeline.query("activity == 'merge'")["staleness"] == 0).all()
