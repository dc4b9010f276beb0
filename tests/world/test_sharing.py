"""A link shared max-min fair: golden rates, and drawn transfers against an allocation from scratch at every change."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlude.simulator.federation.clock import Clock, Sleeper
from interlude.simulator.federation.shared_link import SharedLink, Transfer
from interlude.simulator.world.sharing import FairLink


def max_min_rates(capacity, limits):
    rates = [0.0] * len(limits)
    left = capacity
    for num_done, index in enumerate(sorted(range(len(limits)), key=limits.__getitem__)):
        rates[index] = min(limits[index], left / (len(limits) - num_done))
        left -= rates[index]
    return rates


@pytest.mark.parametrize(
    ("capacity", "limits", "rates"),
    [
        (6.0, [1.0, 4.0, 9.0], [1.0, 2.5, 2.5]),  # one is capped by its own link, the others share what it leaves
        (6.0, [9.0, 1.0, 4.0], [2.5, 1.0, 2.5]),
        (12.0, [1.0, 4.0, 9.0], [1.0, 4.0, 7.0]),
        (99.0, [1.0, 4.0, 9.0], [1.0, 4.0, 9.0]),
        (6.0, [9.0, 9.0, 9.0], [2.0, 2.0, 2.0]),
        (6.0, [2.0, 2.0, 2.0], [2.0, 2.0, 2.0]),  # all are at their limits, and nothing is left
        (6.0, [math.inf, 1.0], [5.0, 1.0]),
    ],
)
def test_max_min_fair_rates(capacity, limits, rates):
    link = FairLink(capacity)
    shares = [link.add(0.0, 100.0, limit, None) for limit in limits]
    assert [100.0 - link.bytes_left(1.0, share) for share in shares] == rates
    assert max_min_rates(capacity, limits) == rates


class Flow(NamedTuple):
    """A transfer, and when it is interrupted."""

    start_s: float
    num_bytes: float
    limit: float
    until_s: float


def from_scratch(capacity, flows):
    """Return when each flow ends and the bytes that it has left then, with rates allocated anew at every change."""
    ends, left, now_s = {}, {}, 0.0
    waiting = sorted(range(len(flows)), key=lambda index: flows[index].start_s)
    while waiting or left:
        rates = dict(zip(left, max_min_rates(capacity, [flows[index].limit for index in left]), strict=True))
        due_s = [now_s + left[index] / rates[index] for index in left] + [flows[index].until_s for index in left]
        next_s = min(due_s + [flows[index].start_s for index in waiting[:1]])
        left = {index: num_bytes - rates[index] * (next_s - now_s) for index, num_bytes in left.items()}
        now_s = next_s
        for index, num_bytes in [*left.items()]:
            if num_bytes <= 1e-9 * flows[index].num_bytes or now_s >= flows[index].until_s:
                ends[index] = (now_s, max(0.0, left.pop(index)))
        while waiting and flows[waiting[0]].start_s <= now_s:
            left[waiting[0]] = flows[waiting[0]].num_bytes
            waiting.pop(0)
    return ends


class Noting(Sleeper):
    def __init__(self, clock, ends, index):
        self.clock, self.ends, self.index = clock, ends, index
        self.transfer = None

    def wake(self):
        self.ends[self.index] = (self.clock.now, self.transfer.bytes_left)


def played(capacity, flows):
    clock, ends = Clock(), {}
    link = SharedLink(clock, capacity)
    for index, flow in enumerate(flows):
        noting = Noting(clock, ends, index)
        noting.transfer = Transfer(link, *flow, noting)
    clock.may_end_idle = True
    clock.advance(1e9)
    return ends


CAPACITY = 1e6
limits = st.one_of(
    st.sampled_from([0.05 * CAPACITY, 0.1 * CAPACITY, 0.25 * CAPACITY, math.inf]),  # classes of several transfers
    st.floats(0.09 * CAPACITY, 0.11 * CAPACITY),  # a small change of the level passes many
    st.floats(1.0, 2 * CAPACITY),
)


@st.composite
def drawn_flows(draw):
    start_s = draw(st.one_of(st.sampled_from([0.0, 1.0, 2.0]), st.floats(0.0, 5.0)))
    lasts_s = draw(st.one_of(st.just(math.inf), st.floats(0.1, 5.0)))
    return Flow(start_s, draw(st.floats(1.0, CAPACITY)), draw(limits), start_s + lasts_s)


@settings(max_examples=60)
@given(flows=st.lists(drawn_flows(), min_size=1, max_size=30))
def test_transfers_end_when_an_allocation_from_scratch_says(flows):
    ends, expected = played(CAPACITY, flows), from_scratch(CAPACITY, flows)
    assert ends.keys() == expected.keys()
    for index, (end_s, bytes_left) in ends.items():
        assert end_s == pytest.approx(expected[index][0], rel=1e-9)
        assert bytes_left == pytest.approx(expected[index][1], rel=1e-9, abs=1e-6 * flows[index].num_bytes)


def test_bytes_left_are_known_at_any_moment():
    """Capacity 6, two transfers of 12 bytes, one at most 1/s: after 2 s they have 10 and 2 left, at 3 s the one 9."""
    link = FairLink(6.0)
    slow, fast = (link.add(0.0, 12.0, limit, limit) for limit in (1.0, math.inf))
    assert (link.bytes_left(2.0, slow), link.bytes_left(2.0, fast)) == (10.0, 2.0)
    assert link.next_end_s() == pytest.approx(2.4)
    assert link.remove(2.0, fast) == 2.0
    assert (link.bytes_left(3.0, slow), link.next_end_s()) == (9.0, 12.0)
    assert link.finished(12.0) == [1.0]
    assert link.next_end_s() == math.inf
