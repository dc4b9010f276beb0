"""The Compass scheduler by hand: 20 to 100 steps, lambda 1.5, speed momentum 0.9."""

import pytest

from interlude.simulator.methods.fedcompass.scheduler import Compass


def compass(**step_s):
    """Return a scheduler that knows the speeds of clients, ``c0=1.0``."""
    made = Compass(20, 100, 0.9, 1.5)
    for client, seconds in step_s.items():
        made.measure(int(client[1:]), seconds)
    return made


def group(made, client):
    number, found = made.group_of(client)
    return number, found.expected_s, found.latest_s


def test_a_client_of_unknown_speed_makes_all_steps_in_no_group():
    made = compass()
    assert made.assign(0, 0.0) == 100
    assert made.group_of(0) is None


def test_speeds_follow_the_last_round():
    made = compass(c0=1.0)
    made.measure(0, 2.0)
    assert made.step_s[0] == pytest.approx(0.1 * 1.0 + 0.9 * 2.0)


def test_groups_are_joined_with_the_most_steps_that_arrive_in_time():
    """100 s: 0 founds A: 100 steps of 1 s until 200 s, at the latest 250 s.

    120 s: 80 / 1.2 = 66 steps. 140 s: 60 / 5 = 12 are too few: B, until A's fastest will have made 100 more steps, from
    250 to 350 s: (350 - 140) / 5 = 42 steps, until 350 s, at the latest 140 + 1.5 x 210 = 455 s. 150 s: until A 100
    steps of 0.5 s, until B 400, too many. 160 s: until A 40 / 1.5 = 26, until B 190 / 1.5 = 126, too many.
    """
    made = compass(c0=1.0, c1=1.2, c2=5.0, c3=0.5, c4=1.5)
    assert (made.assign(0, 100.0), group(made, 0)) == (100, (0, 200.0, 250.0))
    assert (made.assign(1, 120.0), group(made, 1)[0]) == (66, 0)
    assert (made.assign(2, 140.0), group(made, 2)) == (42, (1, 350.0, 455.0))
    assert (made.assign(3, 150.0), group(made, 3)[0]) == (100, 0)
    assert (made.assign(4, 160.0), group(made, 4)[0]) == (26, 0)


def test_of_two_groups_the_later_one_gives_more_steps():
    """0 founds A until 100 s, 1 founds B: (150 + 100) / 4 = 62 steps, until 248 s. At 10 s, by 3 s: 30 or 79 steps."""
    made = compass(c0=1.0, c1=4.0, c2=3.0)
    made.assign(0, 0.0)
    made.groups[0].expected_s = 40.0  # too early for client 1
    assert made.assign(1, 0.0) == 62
    made.groups[0].expected_s = 100.0
    assert (made.assign(2, 10.0), group(made, 2)[0]) == (79, 1)


def test_the_slowest_make_the_fewest_steps_and_the_fastest_all_of_them():
    made = compass(c0=1.0, c1=20.0, c2=0.1)
    made.assign(0, 0.0)
    # (150 + 100) / 20 = 12 steps until a meeting are fewer than 20
    assert (made.assign(1, 0.0), group(made, 1)) == (20, (1, 400.0, 600.0))
    # 1000 steps until A, and more until any meeting: 100, a group of its own
    assert (made.assign(2, 0.0), group(made, 2)) == (100, (2, 10.0, 15.0))


def test_a_closed_group_is_joined_by_nobody_and_gone_with_its_last_client():
    made = compass(c0=1.0, c1=1.0)
    made.assign(0, 0.0)
    made.assign(1, 0.0)
    made.arrive(0)
    assert made.close(0) == [0]
    assert made.assign(0, 150.0) == 100
    assert group(made, 0)[0] == 1
    assert made.groups[0].latest_s < 150.0  # whoever is still of it is late
    made.leave(1)
    assert list(made.groups) == [1]
    assert made.group_of(1) is None


def test_a_group_of_nobody_who_is_at_work_waits_for_those_that_have_arrived():
    made = compass(c0=1.0, c1=1.0)
    made.assign(0, 0.0)
    made.assign(1, 0.0)
    made.arrive(0)
    made.leave(1)
    assert made.groups[0].arrived == [0]
    assert made.close(0) == [0]
    assert made.groups == {}
