"""Urgent notices: a client that is waited for uploads after the pass over its window in which the notice arrives."""

import pytest
from every_method import EVERY_METHOD
from pydantic import ValidationError

from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.methods.fedasync import FedAsync
from interlude.simulator.methods.fedbuff import FedBuff
from interlude.simulator.scenario.registry import method_class

AT_ONCE = {"gray": (0.0, 0.0), "color": (0.0, 0.0)}
WORLDS = {"nothing interrupts": {}, "devices may go off": {"on": {}}}


def three_passes(base):
    class ThreePasses(base):
        def num_steps(self, client):
            return client.num_steps(3)

    return ThreePasses


def buffered(when_stale):
    return {"name": "fedbuff", "server": {"rule": "buffered", "size": 1, "max_staleness": 1, "when_stale": when_stale}}


def of_client(played, client):
    return [(activity, start_s, end_s) for one, activity, start_s, end_s, *_ in played.spans if one == client]


@pytest.mark.parametrize("world", WORLDS)
def test_a_client_uploads_after_the_pass_in_which_the_notice_arrives(paper, task_list, world):
    """A pass takes client 0 one second and client 1 six; transfers take one.

    Client 0 returns at 5 s (version 1) and, sent out again, at 10 s: merged now, client 1 would be two versions behind.
    The notice arrives at 11 s, in client 1's second pass, which ends at 13 s. Both updates are merged at 14 s.
    """
    played = paper(
        buffered("hurry"),
        14.5,
        delays_s=AT_ONCE,
        step_s=(0.5, 3.0),
        method=three_passes(FedBuff),
        executor=task_list,
        **WORLDS[world],
    )
    assert of_client(played, 1)[:4] == [("download", 0, 1), ("train", 1, 7), ("train", 7, 13), ("upload", 13, 14)]
    assert played.merges == [(0, 5, 1, 0), (0, 14, 2, 0), (1, 14, 2, 1)]
    steps = [(task.client, task.local_steps[0].num_steps) for task in task_list.tasks]
    assert steps == [(0, 3), (0, 3), (1, 2), (0, 3)]  # a task is submitted once its length is known
    flops = [row["flops"] for row in played.rows if row["activity"] == "train" and row["client"] == 1]
    assert flops[0] == flops[1] > 0


def test_without_notices_the_server_waits_for_all_passes(paper):
    played = paper(buffered("wait"), 21.0, delays_s=AT_ONCE, step_s=(0.5, 3.0), method=three_passes(FedBuff))
    assert of_client(played, 1)[:3] == [("download", 0, 1), ("train", 1, 19), ("upload", 19, 20)]
    assert {at_s for _, at_s, version, _ in played.merges if version == 2} == {20}


def test_a_client_that_has_not_begun_trains_one_pass(paper):
    """The data of client 1 come at 12 s, after the notice."""
    delays_s = {"gray": (0.0, 12.0), "color": (0.0, 0.0)}
    played = paper(buffered("hurry"), 20.0, delays_s=delays_s, step_s=(0.5, 1.0), method=three_passes(FedBuff))
    assert of_client(played, 1)[:4] == [("download", 0, 1), ("wait", 1, 12), ("train", 12, 14), ("upload", 14, 15)]


def test_a_crash_is_due_at_a_fraction_of_the_day_without_a_notice(paper):
    """Half of client 1's 20 s: it dies at 10 s, before the notice; the server merges at once."""
    played = paper(
        buffered("hurry"),
        12.0,
        delays_s=AT_ONCE,
        step_s=(0.5, 3.0),
        crashes={(1, 0): 0.5},
        method=three_passes(FedBuff),
    )
    assert of_client(played, 1)[:3] == [("download", 0, 1), ("train", 1, 7), ("train lost", 7, 10)]
    assert played.merges == [(0, 5, 1, 0), (0, 10, 2, 0)]


def test_it_goes_with_merging_on_arrival_too(paper):
    """Of two clients at most; as above, but the update of client 0 is held, and its client with it."""
    entry = {"name": "fedasync", "server": {"rule": "on_arrival", "max_staleness": 1, "when_stale": "hurry"}}
    played = paper(entry, 14.0, delays_s=AT_ONCE, step_s=(0.5, 3.0), method=three_passes(FedAsync))
    assert played.merges == [(0, 5, 1, 0), (1, 14, 2, 1), (0, 14, 3, 1)]


BOUNDED = {"max_staleness": 1, "when_stale": "hurry"}
HURRIES = {"on_arrival": {"rule": "on_arrival", **BOUNDED}, "buffered": {"rule": "buffered", "size": 1, **BOUNDED}}


def takes(entry):
    try:
        method_class(entry["name"]).Options.model_validate(entry)
    except ValidationError:
        return False
    return True


WITH_RULES = {
    f"{label}, {rule}": {**entry, "server": HURRIES[rule]} for label, entry in EVERY_METHOD.items() for rule in HURRIES
}
TAKEN = {label: entry for label, entry in WITH_RULES.items() if takes(entry)}


@pytest.mark.parametrize("label", TAKEN)
def test_a_method_that_takes_when_stale_hurry_heeds_notices(paper, monkeypatch, label):
    heeded = []
    train_until_notice = ClientDay.train_until_notice

    def witnessed(day, *steps):
        heeded.append(day.client)
        return train_until_notice(day, *steps)

    monkeypatch.setattr(ClientDay, "train_until_notice", witnessed)
    paper(TAKEN[label], 12.0, delays_s=AT_ONCE, step_s=(0.5, 3.0), first_idle_first=False)
    assert heeded


@pytest.mark.parametrize("name", ["async-drop", "fedasmu"])
def test_a_method_whose_local_rounds_are_not_cut_short_refuses_it(name):
    options = method_class(name).Options
    with pytest.raises(ValidationError, match="'drop' or 'wait'"):
        options.model_validate({"name": name, "server": BOUNDED})
    options.model_validate({"name": name, "server": {**BOUNDED, "when_stale": "wait"}})
