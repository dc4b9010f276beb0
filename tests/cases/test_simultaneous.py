"""Clients that return at one instant: no rule deadlocks, merges an update twice, or exceeds its staleness bound."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_world import play

UNTIL_S = 24.0


MOMENTS_S = st.sampled_from([3.0, 4.0, 5.0])  # local rounds take 4, 5 or 8 s
ANY_AGE = {"max_staleness": st.integers(0, 3), "concurrency": st.integers(1, 8)}
WAITS = {"max_staleness": st.integers(1, 4), "when_stale": st.just("wait")}
SIZE = {"size": st.integers(1, 9)}
RULES = {
    "barrier": st.fixed_dictionaries(
        {},
        optional={
            "clients_per_round": st.integers(1, 8),
            "over_selection": st.sampled_from([1.1, 2.0]),
            "deadline_s": MOMENTS_S,
        },
    ),
    "on_arrival": st.fixed_dictionaries({}, optional=ANY_AGE),
    "on_arrival, waits": st.fixed_dictionaries(WAITS),
    "buffered": st.fixed_dictionaries(SIZE, optional={**ANY_AGE, "timeout_s": MOMENTS_S}),
    "buffered, waits": st.fixed_dictionaries(SIZE | WAITS, optional={"timeout_s": MOMENTS_S}),
}
NUM_CLIENTS = st.sampled_from(range(1, 9))
DELAYS_S = st.lists(st.sampled_from([1.0, 1.0, 1.0, 2.0, 5.0]), min_size=8, max_size=8)
OFF_S = st.sampled_from([3.0, 4.0, 8.0])  # as uploads begin and end
WORLDS = st.fixed_dictionaries(
    {},
    optional={
        "away": st.sampled_from([[(4.0, 6.0)], [(2.0, 4.0), (8.0, 8.5)]]),
        "crashes": st.dictionaries(st.tuples(st.integers(0, 7), st.just(0)), st.sampled_from([0.25, 0.75]), max_size=2),
        "on": st.dictionaries(
            st.integers(1, 7),
            OFF_S.map(lambda off_s: [(0.0, off_s)]) | OFF_S.map(lambda off_s: [(0.0, off_s), (off_s + 1.0, 99.0)]),
            max_size=3,
        ),
        "policy": st.sampled_from(["pause", "lose"]),
    },
)


def played(server, delays_s, **world):
    method = "fedavg" if server["rule"] == "barrier" else "fedbuff" if server["rule"] == "buffered" else "fedasync"
    arrives = {"gray": delays_s, "color": delays_s}
    return play({"name": method, "server": server}, UNTIL_S, delays_s=arrives, step_s=[1.0] * len(delays_s), **world)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25)
@given(st.data(), NUM_CLIENTS, DELAYS_S, WORLDS)
def test_no_rule_deadlocks_or_merges_twice_or_too_late(rule, data, num_clients, delays_s, world):
    server = {"rule": rule.partition(",")[0], **data.draw(RULES[rule])}
    delays_s = delays_s[:num_clients]
    run = played(server, delays_s, **world)
    merged = Counter(client for client, *_ in run.merges)
    sent = Counter(row["client"] for row in run.rows if row["activity"] == "upload" and row["outcome"] == "done")
    assert all(merged[client] <= sent[client] for client in merged)
    assert merged.total() + run.server.losses.updates_dropped <= sent.total()
    bound = 0 if server["rule"] == "barrier" else server.get("max_staleness", float("inf"))
    assert all(staleness <= bound for *_, staleness in run.merges)
    is_dropped = server.get("when_stale") != "wait" and bound < float("inf")
    assert run.merges or is_dropped or server.get("size", 1) > len(delays_s)


@pytest.mark.parametrize("num_clients", [4, 5, 8])
@pytest.mark.parametrize("bound", [1, 2, 3])
def test_on_arrival_that_waits_for_the_stale_merges_those_that_return_together(num_clients, bound):
    """As many clients as may wait for each other are at work: after 4 s all are merged, and begin together again."""
    server = {"rule": "on_arrival", "max_staleness": bound, "when_stale": "wait"}
    run = played(server, [1.0] * num_clients)
    most = min(num_clients, bound + 1)
    assert [(at_s, staleness) for _, at_s, _, staleness in run.merges[:most]] == [(4, age) for age in range(most)]
    assert run.merges[-1][1] == UNTIL_S


def test_a_buffer_counts_those_in_the_inbox_before_it_makes_them_too_old():
    """Buffers of one and a bound of one: of three that return together, none may be two versions behind."""
    server = {"rule": "buffered", "size": 1, "max_staleness": 1, "when_stale": "wait"}
    run = played(server, [1.0] * 3)
    assert max(staleness for *_, staleness in run.merges) == 1
    assert {client for client, *_ in run.merges} == {0, 1, 2}
