"""Availability: answers worked out by hand on small traces, and laws that hold whatever is asked in which order."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from interlude.simulator.world.availability import Availability, AvailabilitySpec
from interlude.simulator.world.availability_patterns import FOREVER_S

SPEC = TypeAdapter(AvailabilitySpec)
DAY_S = 86_400.0

SAMPLES = {
    "always": {"kind": "always", "join_s": {"distribution": "exponential", "mean": 50}, "leave_s": 300},
    "markov": {
        "kind": "markov",
        "mean_on_s": {"distribution": "lognormal", "median": 20, "sigma": 1},
        "mean_off_s": 60,
    },
    "daily": {"kind": "daily", "on_share": {"distribution": "uniform", "low": 0, "high": 1}, "jitter_s": 1e4},
}


def availability(spec, num_clients=1, seed=0):
    return Availability(SPEC.validate_python(spec), seed, num_clients)


def problem(spec):
    """Return what is said about something that must not be accepted."""
    with pytest.raises(ValidationError) as caught:
        SPEC.validate_python(spec)
    return caught.value.errors()[0]["msg"]


@pytest.fixture
def trace(tmp_path):
    """Return a function that writes rows and returns a spec that reads them."""

    def write(*rows, header="device,on_s,off_s", **options):
        path = tmp_path / "ready.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return {"kind": "intervals", "file": str(path), **options}

    return write


def test_a_moment_inside_an_interval_is_on_and_its_end_is_not(trace):
    one = availability(trace("a,10,15", "a,20,40", trace_s=100))
    assert [one.next_on(0, t) for t in (0.0, 10.0, 14.5, 15.0, 39.0, 40.0)] == [10.0, 10.0, 14.5, 20.0, 39.0, 110.0]
    assert [one.remaining_on(0, t) for t in (9.9, 10.0, 14.5, 15.0, 39.0)] == [0.0, 5.0, 0.5, 0.0, 1.0]


def test_nothing_is_cut_to_whole_seconds(trace):
    one = availability(trace("a,0.25,0.75", trace_s=1.5))
    assert one.next_on(0, 0.8) == 1.75
    assert one.remaining_on(0, 0.5) == 0.25


def test_a_trace_begins_again_and_joins_its_own_end(trace):
    one = availability(trace("a,0,10", "a,90,100", trace_s=100))
    assert one.remaining_on(0, 95.0) == 15.0  # 95 to 110: no break at the seam
    assert one.next_on(0, 1050.0) == 1090.0


def test_without_a_length_the_trace_ends_with_the_largest_end_of_the_file(trace):
    two = availability(trace("a,0,10", "b,30,50"), num_clients=40)
    assert {two.next_on(k, 60.0) for k in range(40)} == {80.0, 100.0}  # again every 50 s


def test_a_column_gives_each_device_its_own_length(trace):
    two = availability(trace("a,0,10,20", "b,0,10,50", header="device,on_s,off_s,span_s", length="span_s"), 40)
    assert {two.next_on(k, 15.0) for k in range(40)} == {20.0, 50.0}


def test_a_trace_answers_after_a_million_repetitions_as_in_its_first(trace):
    one = availability(trace("a,10,15", trace_s=100))
    assert one.on_share(0) == 0.05
    assert [one.next_on(0, 1e8 + t) for t in (0.0, 12.0, 15.0)] == [1e8 + 10, 1e8 + 12, 1e8 + 110]
    assert [one.remaining_on(0, 1e8 + t) for t in (0.0, 12.0, 15.0)] == [0.0, 3.0, 0.0]


def test_a_device_that_is_never_on_is_refused_dropped_or_off_for_ever(trace):
    rows = ("a,5,5", "b,0,10", "c,,")
    assert "device 'a' is never on" in problem(trace(*rows, trace_s=20))
    dropped = availability(trace(*rows, trace_s=20, never_ready="drop"), num_clients=30)
    assert {dropped.next_on(k, 0.0) for k in range(30)} == {0.0}
    kept = availability(trace(*rows, trace_s=20, never_ready="keep"), num_clients=30)
    assert {kept.next_on(k, 0.0) for k in range(30)} == {0.0, math.inf}
    off = next(k for k in range(30) if kept.next_on(k, 0.0) == math.inf)
    assert kept.remaining_on(off, 5.0) == kept.on_share(off) == 0.0


def test_intervals_of_no_length_are_nothing_and_touching_ones_are_one(trace):
    one = availability(trace("a,3,3", "a,10,12", "a,12,15", "a,20,20", trace_s=100))
    assert one.next_on(0, 0.0) == 10.0
    assert one.remaining_on(0, 10.0) == 5.0
    assert one.next_on(0, 15.0) == 110.0


def test_a_device_that_is_always_on_has_no_end(trace):
    one = availability(trace("a,0,100", trace_s=100))
    assert one.remaining_on(0, 1234.5) == math.inf


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (["a,0,10", "b,0,1", "a,9,12"], {}, "line 4: device 'a' is on from 9, but the row before is on until 10"),
        (["a,50,60", "a,0,10"], {}, "line 3: device 'a' is on from 0, but the row before"),
        (["a,10,5"], {}, "line 2: device 'a' goes off at 5, before it is on at 10"),
        (["a,-1,5"], {}, "line 2, column 'on_s': -1.0 is negative"),
        (["a,0,soon"], {}, "line 2, column 'off_s': 'soon' is not a number"),
        (["a,0,nan"], {}, "non-finite"),
        (["a,0,"], {}, "line 2, column 'off_s': '' is not a number"),
        ([",0,5"], {}, "line 2, column 'device': is empty"),
        (["a,0,30"], {"trace_s": 20}, "line 2: device 'a' is on until 30, after its trace is over at 20"),
        (["a,0,30"], {"device": "phone"}, "has no column 'phone'; its columns are: device, on_s, off_s"),
        (["a,0,0.5"], {}, "0.5 s long"),
        (["a,0,30"], {"length": "off_s", "trace_s": 30}, "give one of them"),
        (["a,0,5,30", "a,6,7,40"], {"length": "span"}, "two lengths, 30 and 40"),
        ([], {}, "has no rows"),
        (["a,,"], {"never_ready": "drop"}, "no device is ever on"),
    ],
)
def test_bad_rows_are_named_with_file_and_line(trace, rows, options, said):
    header = "device,on_s,off_s" + (",span" if options.get("length") == "span" else "")
    message = problem(trace(*rows, header=header, **options))
    assert said in message
    assert "ready.csv" in message or "give one" in said


def test_a_missing_file_is_named(tmp_path):
    assert "no.csv" in problem({"kind": "intervals", "file": str(tmp_path / "no.csv")})


@pytest.mark.parametrize("given_", [{}, {"mean_on_s": 1}, {"mean_on_s": 1, "mean_off_s": 1, "on_share": 0.5}])
def test_a_chain_is_given_in_one_of_two_ways(given_):
    assert "mean_on_s and mean_off_s, or on_share and cycle_s" in problem({"kind": "markov", **given_})


def test_a_share_above_one_is_refused():
    assert "must not exceed 1" in problem({"kind": "daily", "on_share": {"distribution": "exponential", "mean": 0.3}})


@pytest.fixture
def patterns(trace):
    return {**SAMPLES, "intervals": trace("a,0,10", "a,31.5,80", "b,5,6", trace_s=99.5)}


@pytest.mark.parametrize("kind", [*SAMPLES, "intervals"])
def test_the_order_of_asking_changes_no_answer(patterns, kind):
    rng = np.random.default_rng(0)
    questions = [
        (int(k), float(t)) for k, t in zip(rng.integers(0, 5, 300), rng.exponential(2e4, 300) ** 1.3, strict=True)
    ]

    def answers(asked):
        world = availability(patterns[kind], num_clients=5, seed=3)
        return {(k, t): (world.next_on(k, t), world.remaining_on(k, t)) for k, t in asked}

    assert answers(questions) == answers(sorted(questions)) == answers(sorted(questions, reverse=True))


@pytest.mark.parametrize("kind", [*SAMPLES, "intervals"])
def test_a_client_more_moves_nobody(patterns, kind):
    few, many = (availability(patterns[kind], num_clients=n) for n in (3, 50))
    times = np.linspace(0, 5000, 40).tolist()
    assert [few.next_on(k, t) for k in range(3) for t in times] == [many.next_on(k, t) for k in range(3) for t in times]


_WORLDS = {kind: Availability(SPEC.validate_python(spec), 1, 5) for kind, spec in SAMPLES.items()}


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=40)
@given(t=st.floats(0, 1e6), client=st.integers(0, 4))
def test_the_answers_agree_with_each_other(kind, t, client):
    world = _WORLDS[kind]
    on_s = world.next_on(client, t)
    assert on_s >= t
    assert (world.remaining_on(client, t) > 0) == (on_s == t)
    if on_s < math.inf:
        assert world.next_on(client, on_s) == on_s
        left_s = world.remaining_on(client, on_s)
        assert left_s > 0
        if left_s < math.inf:
            assert world.remaining_on(client, on_s + left_s) == 0.0


@settings(max_examples=60)
@given(ons=st.lists(st.booleans(), min_size=1, max_size=12).filter(any), start=st.integers(0, 40))
def test_a_trace_agrees_with_walking_through_it_second_by_second(tmp_path_factory, ons, start):
    path = tmp_path_factory.mktemp("trace") / "t.csv"
    rows = [f"a,{i},{i + 1}" for i, on in enumerate(ons) if on]
    path.write_text("device,on_s,off_s\n" + "\n".join(rows) + "\n", encoding="utf-8")
    one = availability({"kind": "intervals", "file": str(path), "trace_s": len(ons)})

    def is_on(second):
        return ons[second % len(ons)]

    expected_on = next(s for s in range(start, start + len(ons)) if is_on(s))
    assert one.next_on(0, start) == expected_on
    run = next((s for s in range(start, start + 2 * len(ons)) if not is_on(s)), None)
    assert one.remaining_on(0, start) == (math.inf if run is None else run - start)


def test_a_chain_spends_its_share_on_and_its_mean_on_a_stretch():
    world = availability({"kind": "markov", "mean_on_s": 30, "mean_off_s": 90}, num_clients=400)
    assert [world.on_share(k) for k in range(2)] == [0.25, 0.25]
    for moment in (0.0, 10.0, 1e7):  # stationary from the start: 400 clients, deviation 0.022
        share = np.mean([world.remaining_on(k, moment) > 0 for k in range(400)])
        assert share == pytest.approx(0.25, abs=0.08)
    on_s, off_s = _stretches(world, 0, 600)
    assert np.mean(on_s) == pytest.approx(30, rel=0.15)
    assert np.mean(off_s) == pytest.approx(90, rel=0.15)
    assert np.std(on_s) == pytest.approx(30, rel=0.2)  # exponential: deviation = mean
    assert abs(np.corrcoef(on_s[1:], off_s[:-1])[0, 1]) < 0.15


def _stretches(world, client, count):
    on_s, off_s, t = [], [], world.next_on(client, 0.0)
    for _ in range(count):
        on_s.append(world.remaining_on(client, t))
        end = t + on_s[-1]
        t = world.next_on(client, end)
        off_s.append(t - end)
    return np.array(on_s), np.array(off_s)


def test_a_chain_that_switches_every_second_answers_after_years():
    world = availability({"kind": "markov", "mean_on_s": 0.5, "mean_off_s": 0.5})
    assert 1e10 <= world.next_on(0, 1e10) < 1e10 + 60


@pytest.mark.parametrize(
    ("means", "expected"),
    [({"mean_on_s": 0, "mean_off_s": 10}, (math.inf, 0.0)), ({"mean_on_s": 10, "mean_off_s": 0}, (7.0, math.inf))],
)
def test_a_chain_with_a_mean_of_nothing_is_never_or_always_on(means, expected):
    world = availability({"kind": "markov", **means})
    assert (world.next_on(0, 7.0), world.remaining_on(0, 7.0)) == expected


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "markov", "mean_on_s": 1, "mean_off_s": 1e99},
        {"kind": "markov", "mean_on_s": 1e99, "mean_off_s": 1e99},
        {"kind": "daily", "on_share": 1e-12},
        {"kind": "daily", "on_share": 0.5, "period_s": 1e99},
    ],
)
def test_absurd_figures_end(spec):
    world = availability(spec, num_clients=20)
    for k in range(20):
        assert world.next_on(k, 5.0) >= 5.0
        assert world.remaining_on(k, 5.0) >= 0.0
        assert world.next_on(k, FOREVER_S * 2) == math.inf


def test_a_share_and_a_cycle_say_the_same_as_two_means():
    share = availability({"kind": "markov", "on_share": 0.2, "cycle_s": 50})
    means = availability({"kind": "markov", "mean_on_s": 10, "mean_off_s": 40})
    assert [share.next_on(0, t) for t in (0.0, 100.0, 1e5)] == [means.next_on(0, t) for t in (0.0, 100.0, 1e5)]


def test_a_day_has_one_stretch_of_the_share_at_the_same_time():
    world = availability(
        {"kind": "daily", "on_share": 0.25, "start_s": 80_000.0}
    )  # 80,000 to 101,600 = 15,200 next day
    assert world.remaining_on(0, 0.0) == pytest.approx(15_200)
    assert world.next_on(0, 15_200.0) == 80_000.0
    assert world.remaining_on(0, 10 * DAY_S + 80_000.0) == pytest.approx(21_600)


def test_a_jittered_day_keeps_its_share_and_stays_within_the_jitter():
    world = availability({"kind": "daily", "on_share": 0.25, "start_s": 40_000.0, "jitter_s": 3600.0})
    starts = []
    for day in range(1, 200):
        on_s = world.next_on(0, day * DAY_S + 20_000.0)
        assert world.remaining_on(0, on_s) == pytest.approx(21_600)
        starts.append(on_s - day * DAY_S - 40_000.0)
    assert -3600 <= min(starts) < -3200
    assert 3200 < max(starts) <= 3600


def test_who_has_not_joined_or_has_left_is_off():
    world = availability({"kind": "always", "join_s": 100, "leave_s": 150})
    assert world.next_on(0, 0.0) == 100.0
    assert world.remaining_on(0, 99.0) == 0.0
    assert world.remaining_on(0, 120.0) == 30.0
    assert world.next_on(0, 150.0) == math.inf
    never = availability({"kind": "always", "join_s": 200, "leave_s": 150})
    assert never.next_on(0, 0.0) == math.inf
