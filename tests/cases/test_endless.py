"""No process goes round for ever at one instant: time passes, the run ends, or one sentence says what is wrong."""

import math

import pytest
from paper_world import play

from interlude.simulator.errors import InterludeError
from interlude.simulator.federation.clock import Clock, Sleeper
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.fedavg import FedAvg

HELD = [("gray", "color"), ("color",)]


def chain(until_s, on, *, pipelined, held=HELD):
    delays_s = {"gray": [1.0] * len(held), "color": [1.0] * len(held)}
    entry = {"name": "fedmchain", "pipelined": pipelined, "phase_epochs": 1}
    return play(entry, until_s, delays_s=delays_s, step_s=[1.0] * len(held), held=held, on=on)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pipelined", [False, True])
def test_a_chain_skips_the_modality_whose_holders_have_left(pipelined):
    """Only client 0 holds gray, and leaves at 10 s: from then on the phases of color follow each other, 3 s each."""
    run = chain(40.0, {0: [(0.0, 10.0)]}, pipelined=pipelined)
    late = [(client, at_s) for client, at_s, *_ in run.merges if at_s > 13.0]
    assert {client for client, _ in late} == {1}
    assert len(late) == 9


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("leave_s", [0.0, 0.5, 2.0, 3.0, 7.5])
def test_a_chain_whose_clients_have_all_left_ends_idle(pipelined, leave_s):
    run = chain(40.0, {0: [(0.0, leave_s)], 1: [(0.0, leave_s)]} if leave_s else {0: [], 1: []}, pipelined=pipelined)
    assert run.clock.is_at_rest
    assert all(at_s <= leave_s for _, at_s, *_ in run.merges)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pipelined", [False, True])
def test_a_chain_is_left_by_one_client_of_two_that_hold_a_modality(pipelined):
    run = chain(60.0, {0: [(0.0, 10.0)]}, pipelined=pipelined, held=[("gray",), ("gray",), ("color",)])
    late = {client for client, at_s, *_ in run.merges if at_s > 12.0}
    assert late == {1, 2}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_ends_idle_where_all_have_left(name):
    on = {0: [(0.0, 2.5)], 1: [(1.0, 7.0), (9.0, 14.0)], 2: []}
    run = play({"name": name}, 30.0, delays_s={"gray": [1.0] * 3, "color": [2.0] * 3}, step_s=[1.0] * 3, on=on)
    assert run.clock.is_at_rest


class SelectsNone(FedAvg):
    """Selects no client from the third version on."""

    def select(self, view, num_clients):
        return dict.fromkeys(view.idle if view.version < 2 else ())


def test_a_method_that_selects_none_is_told_so():
    with pytest.raises(InterludeError, match="the method selects none of the idle clients"):
        play({"name": "fedavg"}, 30.0, delays_s={"gray": [1.0], "color": [1.0]}, step_s=[1.0], method=SelectsNone)


@pytest.mark.parametrize("name", ["fedavg", "fedasync", "fedbuff", "fedmchain"])
def test_local_rounds_that_take_no_time_are_refused(name):
    """No modality ever arrives, and downloads are done at once."""
    with pytest.raises(InterludeError, match="time stands still at t = 0 s: more than 10,000 events at one instant"):
        play({"name": name}, 1.0, delays_s={"gray": [None], "color": [None]}, step_s=[1.0], down_s=0.0)


class Again(Sleeper):
    def __init__(self, clock, times, delay_s):
        self.clock, self.times, self.delay_s = clock, times, delay_s

    def wake(self):
        self.times -= 1
        if self.times:
            self.clock.wake_at(self.clock.now + self.delay_s, self)


@pytest.mark.parametrize(("times", "delay_s"), [(101, 1e-9), (100, 0.0)])
def test_the_clock_takes_as_many_events_at_one_instant_as_it_is_told(times, delay_s):
    clock = Clock(most_at_once=100)
    clock.wake_at(1.0, Again(clock, times, delay_s))
    clock.may_end_idle = True
    assert clock.advance(math.inf)
    assert clock.num_events == times


def test_the_clock_refuses_endless_events_at_one_instant():
    clock = Clock(most_at_once=100)
    clock.wake_at(1.0, Again(clock, 101, 0.0))
    with pytest.raises(InterludeError, match="time stands still at t = 1 s"):
        clock.advance(math.inf)
