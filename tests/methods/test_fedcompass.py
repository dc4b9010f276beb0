"""FedCompass: the merge by hand, a schedule on paper times, and what is sent."""

from dataclasses import replace

import pandas as pd
import pytest
from paper_world import play
from updates import GROUPS, NAMES, model_of, update_of

from interlude import parse_scenario, run_scenario
from interlude.simulator.methods.fedcompass import FedCompass, FedCompassOptions
from interlude.simulator.training.merge import Holders


def merged(*updates, holders=None):
    of_all = dict.fromkeys(GROUPS, Holders(3, 30)) | (holders or {})
    told = [replace(update, holders=of_all) for update in updates]
    model = FedCompass(FedCompassOptions()).merge(model_of(10.0), None, told)
    return [round(model[name].item(), 5) for name in NAMES]


def test_differences_are_added_each_as_one_of_all_clients():
    """Alpha 0.9, N = 3. A fresh difference of 3: 0.3 x 3; one of 6, three versions late: 0.3 x 1/2 x 6: 11.8.

    The one alone is 10.9: a share is of all clients, not of those that merge together.
    """
    assert merged(update_of(3.0), update_of(8.0, start=2.0, staleness=3)) == [11.8] * 4
    assert merged(update_of(3.0, num_samples=99)) == [10.9] * 4


def test_a_group_counts_the_clients_that_hold_it():
    update = update_of(3.0, groups=("encoder.a", "head.bias"))
    assert merged(update, holders={"encoder.a": Holders(1, 10)}) == [12.7, 10.0, 10.0, 10.9]


AT_ONCE = {"gray": (0.0, 0.0), "color": (0.0, 0.0)}
FEW = {"name": "fedcompass", "min_steps": 1, "max_steps": 4}


def merges(played):
    """Return the clients of every version and when it was made."""
    by_version = {}
    for client, at_s, version, _ in played.merges:
        by_version.setdefault((version, float(at_s)), []).append(client)
    return [(sorted(clients), at_s) for (_, at_s), clients in sorted(by_version.items())]


def steps(played, client, step_s):
    return [
        float(end_s - start_s) / step_s
        for k, what, start_s, end_s, *_ in played.spans
        if (k, what) == (client, "train") and end_s - start_s >= step_s
    ]


def test_a_schedule_of_two_clients_by_hand():
    """Steps take 1 and 2 s, transfers 1 s each; 1 to 4 steps, lambda 1.5.

    6 s: 0 is back from 4 steps, s = 6/4 = 1.5; alone; founds A, 4 steps until 12 s, at the latest 15 s.
    10 s: 1 is back, s = 10/4 = 2.5; alone; (12 - 10) / 2.5 = 0 steps until A: founds B, to be met by A's fastest after
    another round: (15 + 4 x 1.5 - 10) / 2.5 = 4 steps until 20 s, at the latest 25 s.
    12 s: A merges; 0 could make 5 until B, too many, and 15 until a meeting: founds C, 4 steps until 18 s.
    18 s: C merges; (20 - 18) / 1.5 = 1 step until B, for which it takes 3 s: s = 0.15 + 2.7 = 2.85.
    20 s: 1 is back and waits. 21 s: B merges; 1 is the faster by now and founds D, 4 steps until 31 s; 0 joins it with
    (31 - 21) / 2.85 = 3 steps, is back at 26 s and waits. 31 s: D merges.
    """
    played = play(FEW, 31.0, delays_s=AT_ONCE, step_s=(0.5, 1.0))
    expected = [([0], 6), ([1], 10), ([0], 12), ([0], 18), ([0, 1], 21), ([0, 1], 31)]
    assert merges(played) == expected
    assert steps(played, 0, 1.0) == [4, 4, 4, 1, 3]
    assert steps(played, 1, 2.0) == [4, 4, 4]


def test_whoever_is_late_merges_with_the_next_group_and_does_not_wait():
    """The same with lambda = 1: A's client arrives just in time, at 12 s.

    10 s: 1 founds B with (12 + 4 x 1.5 - 10) / 2.5 = 3 steps until 17.5 s; these take 8 s, until 18 s. 12 s: 0 joins B
    with (17.5 - 12) / 1.5 = 3 steps, is back at 17 s; at 17.5 s B merges without 1, and 0, s = 0.15 + 1.5 = 1.65,
    founds C until 24.1 s. 18 s: 1 is late, and joins C with (24.1 - 18) / 2.65 = 2 steps, until 24 s, when both merge
    and what was late.
    """
    played = play({**FEW, "latest_time_factor": 1.0}, 24.0, delays_s=AT_ONCE, step_s=(0.5, 1.0))
    assert merges(played) == [([0], 6), ([1], 10), ([0], 12), ([0], 17.5), ([0, 1, 1], 24)]
    assert steps(played, 1, 2.0) == [4, 3, 2]


def test_a_client_whose_round_is_lost_keeps_nobody_waiting():
    """At 19.5 s client 1's second upload breaks off: it leaves B, which 0 joined at 18 s and has to itself at 21 s."""
    played = play(FEW, 40.0, delays_s=AT_ONCE, step_s=(0.5, 1.0), lost={(1, 1): 0.5})
    assert merges(played)[:5] == [([0], 6), ([1], 10), ([0], 12), ([0], 18), ([0], 21)]
    assert any(1 in clients for clients, _ in merges(played)[5:])


def test_equal_clients_with_as_many_steps_each_go_in_rounds():
    three = {"gray": (0.0,) * 3, "color": (0.0,) * 3}
    entry = {"name": "fedcompass", "min_steps": 2, "max_steps": 2}
    played = play(entry, 24.0, delays_s=three, step_s=(0.5,) * 3)
    assert merges(played)[3:] == [([0, 1, 2], at_s) for at_s in (8.0, 12.0, 16.0, 20.0, 24.0)]


def test_options_that_act_nowhere_are_refused():
    with pytest.raises(ValueError, match="min_steps must be at most max_steps"):
        FedCompassOptions(min_steps=101)
    with pytest.raises(ValueError, match="FedCompass sends all clients out"):
        FedCompassOptions(server={"concurrency": 2})


def test_a_round_sends_what_fedbuffs_does(scenario_with, tmp_path):
    methods = [FEW, {"name": "fedbuff", "server": {"size": 2}}]
    changes = {"methods": methods, "until": {"versions": 8}, "clients.multimodal_fraction": 0.5}
    records = run_scenario(parse_scenario(scenario_with(changes)), runs=tmp_path, device="cpu")
    for way in ("download", "upload"):
        sizes = [r.timeline.query(f"activity == '{way}'").groupby("client")["bytes"].first() for r in records]
        pd.testing.assert_series_equal(*sizes)
    assert records[0].metrics["value"].notna().all()
