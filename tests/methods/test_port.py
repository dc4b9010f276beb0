"""PORT: theta_g <- theta_g + sum_k Delta_k,g n_k s_k / sum_j n_j s_j, by hand.

s_k = alpha B / (tau_k + B) + beta (cos(Delta_k, theta^t - theta^(t-1)) + 1) / 2. Parameters are one number in each of
four groups, so that the cosine of two differences is 1 or -1 unless groups differ.
"""

import math

import pytest
from updates import model_of, update_of

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.methods.port import BoundedBuffer, Port, PortOptions


def port(*, size=2, bound=10, **options):
    return Port(PortOptions(server=BoundedBuffer(size=size, max_staleness=bound), **options))


def merged(method, model, before, *updates):
    following, kept = method.advance(model, before, updates)
    assert kept is model
    return [round(value.item(), 5) for value in following.values()]


FRESH, LATE = update_of(2.0), update_of(4.0, staleness=10, start=0.0)


@pytest.mark.parametrize(
    ("options", "before", "updates", "expected"),
    [
        # s = 10/10 + 1 and 10/20 + 1 (the model moved the same way, by 3): weights 4/7, 3/7: 10 + (4 x 2 + 3 x 4) / 7
        ({}, 7.0, [FRESH, LATE], 10 + 20 / 7),
        # the model moved the other way: s = 2 and 1/2 + 0, weights 4/5, 1/5. The client's model, 4, and its distance
        # from the server's, 4 - 10, would both say otherwise than Delta does in one of the two
        ({}, 13.0, [FRESH, LATE], 10 + (4 * 2 + 1 * 4) / 5),
        # a fresh update is never compared, nor one that missed one merge: 10/11 + 1
        ({}, 13.0, [FRESH, update_of(4.0, staleness=1)], 10 + (2 * 2 + (10 / 11 + 1) * 4) / (2 + 10 / 11 + 1)),
        # nor any before there are two versions
        ({}, None, [FRESH, LATE], 10 + 20 / 7),
        # alpha = 3: s = 3 + 1 and 3/2 + 1, weights 8/13, 5/13
        ({"staleness_weight": 3.0}, 7.0, [FRESH, LATE], 10 + (8 * 2 + 5 * 4) / 13),
        # B = 30: s = 2 and 3/4 + 1, weights 8/15, 7/15
        ({"bound": 30}, 7.0, [FRESH, LATE], 10 + (8 * 2 + 7 * 4) / 15),
        # samples count: 3 x 2 and 1 x 3/2, weights 4/5, 1/5
        ({}, 7.0, [update_of(2.0, num_samples=3), LATE], 10 + (4 * 2 + 1 * 4) / 5),
        # deltas are merged, and not models: one stale update moves the model by its own delta, 5 - 4
        ({}, 7.0, [update_of(5.0, start=4.0, staleness=10)], 11.0),
        # beta = 0 and B large: the mean of deltas by samples
        ({"similarity_weight": 0.0, "bound": 10**9}, 13.0, [update_of(2.0, num_samples=3), LATE], 12.5),
    ],
)
def test_deltas_count_by_staleness_and_direction(options, before, updates, expected):
    previous = None if before is None else model_of(before)
    assert merged(port(**options), model_of(10.0), previous, *updates) == pytest.approx([expected] * 4, abs=1e-5)


def test_weights_sum_to_one_over_those_that_trained_a_group_and_direction_is_that_of_what_was_trained():
    """Client k trained a and head.bias, Delta = (2, 2); of these the model moved by (1, 0): cos = 2 / sqrt(8).

    s_k = 1/2 + (1/sqrt(2) + 1) / 2. The other, fresh, trained b and head.bias by 4: s = 2.
    """
    before = model_of(10.0) | {"encoder.a.weight": model_of(9.0)["encoder.a.weight"]}
    before |= {"encoder.b.weight": model_of(50.0)["encoder.b.weight"]}
    late = update_of(2.0, groups=("encoder.a", "head.bias"), staleness=10)
    other = update_of(4.0, groups=("encoder.b", "head.bias"))
    s = 0.5 + (1 / math.sqrt(2) + 1) / 2
    expected = [12.0, 14.0, 10.0, 10 + (s * 2 + 2 * 4) / (s + 2)]
    assert merged(port(), model_of(10.0), before, late, other) == pytest.approx(expected, abs=1e-4)


def test_the_rule_has_a_bound(scenario_with):
    for server in ({"max_staleness": None}, {"max_staleness": 0}, {"rule": "on_arrival"}):
        with pytest.raises(BadInputError, match="server"):
            parse_scenario(scenario_with({"methods": [{"name": "port", "server": server}]}))


def test_no_update_exceeds_the_bound_and_those_waited_for_train_less(scenario_with, tmp_path):
    """A client ten times slower than the others: without notices it trains eight epochs, with them fewer."""
    changes = {
        "clients.count": 4,
        "world.compute.throughput_gflops": {"distribution": "lognormal", "median": 0.005, "sigma": 1.5},
        "training.local_epochs": 8,
        "until": {"versions": 12},
        "evaluate.every_s": 1000,
        "methods": [
            {"name": "port", "server": {"size": 1, "max_staleness": 1}},
            {"name": "port", "server": {"size": 1, "max_staleness": 1, "when_stale": "wait"}, "label": "waits"},
        ],
    }
    scenario = parse_scenario(scenario_with(changes))
    trained = run_scenario(scenario, runs=tmp_path / "trained", device="cpu", workers=1)
    timed = run_scenario(scenario, runs=tmp_path / "timed", device="cpu", timing_only=True)
    flops = []
    for one, other in zip(trained, timed, strict=True):
        assert one.info["totals"]["order_sha256"] == other.info["totals"]["order_sha256"]
        merges = one.timeline.query("activity == 'merge'")
        assert merges["staleness"].max() <= 1
        flops.append(one.timeline.query("activity == 'train'").groupby("client")["flops"].sum())
    hurried, waiting = trained
    assert hurried.info["totals"]["simulated_s"] < 0.8 * waiting.info["totals"]["simulated_s"]
    model_bytes = 4 * (64 * 16 + 192 * 16 + 2 * (16 + 16 * 16 + 16) + 2 * 160 + 10)
    done = hurried.timeline.query("outcome == 'done'")
    assert set(done.query("activity == 'download'")["bytes"]) == {model_bytes}
    assert set(done.query("activity == 'upload'")["bytes"]) == {model_bytes + 8}
