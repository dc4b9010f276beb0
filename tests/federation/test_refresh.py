"""A download in mid-round: its answer is the model of that moment, whatever was planned at dispatch."""

import pytest

from interlude.simulator.methods.fedasync import FedAsync
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.objective import cross_entropy
from interlude.simulator.training.task import LocalSteps

AT_ONCE = {"gray": (0.0, 0.0), "color": (0.0, 0.0)}
WORLDS = {
    "nothing interrupts": {},
    "devices may go off": {"on": {}},
    "a link is shared": {"shared_bytes_per_s": {"up": 1e99}, "own_bytes_per_s": (1e99, 1e99)},
}
ON_ARRIVAL = {"name": "fedasync", "server": {"rule": "on_arrival"}}


class Asks(FedAsync):
    """One step, the model of the moment, one step."""

    def joint_training(self, client, ready):
        for first in (0, 1):
            if first:
                yield from client.refresh()
            yield from client.train(LocalSteps(cross_entropy(ready.modalities), 1, "joint", first))


def played(paper, until_s=14.0, method=Asks, **more):
    return paper(ON_ARRIVAL, until_s, delays_s=AT_ONCE, step_s=(0.5, 2.5), num_samples=8, method=method, **more)


@pytest.mark.parametrize("world", WORLDS)
def test_it_gets_the_version_of_the_moment_and_takes_its_time(paper, world):
    """A step takes client 0 one second and client 1 five; transfers take one.

    Client 0 makes version 1 at 5 s and 2 at 10 s. Client 1 asks at 6 s, when there is version 1, and returns at 13 s,
    two versions after the one that it started from.
    """
    found = played(paper, **WORLDS[world])
    mine = [row[1:5] for row in found.spans if row[0] == 1]
    assert mine[:5] == [
        ("download", 0, 1, 0),
        ("train", 1, 6, 0),
        ("download", 6, 7, 1),
        ("train", 7, 12, 0),
        ("upload", 12, 13, 0),
    ]
    assert found.merges == [(0, 5, 1, 0), (0, 10, 2, 0), (1, 13, 3, 2)]
    down = [row["bytes"] for row in found.rows if row["activity"] == "download" and row["outcome"] == "done"]
    assert set(down) == {sum(found.server.network.group_bytes.values())}


def test_training_after_it_sees_the_fresh_model_and_the_server_the_one_of_the_dispatch(paper, monkeypatch):
    made, seen, starts = [], [], []
    train = SequentialExecutor.train

    def witnessed(executor, task):
        seen.append((task.client, task.local_steps[0].first_step, task.latest))
        return train(executor, task)

    class Noting(Asks):
        def merge(self, model, memory, updates):
            if not made:
                made.append(model)
            starts.append((updates[0].start, len(made) - 1 - updates[0].staleness))
            made.append(super().merge(model, memory, updates))
            return made[-1]

    monkeypatch.setattr(SequentialExecutor, "train", witnessed)
    played(paper, trains=True, method=Noting)
    assert all(start is made[version] for start, version in starts)
    latest = {step: next(v for v, one in enumerate(made) if one is model) for client, step, model in seen if client}
    assert latest == {0: 0, 1: 1}


def test_a_crash_is_due_at_a_fraction_of_the_whole_day(paper):
    """Half of client 1's 13 s: in the second download, of which it had half."""
    found = played(paper, 8.0, crashes={(1, 0): 0.5})
    mine = [row[1:4] for row in found.spans if row[0] == 1]
    assert mine[:3] == [("download", 0, 1), ("train", 1, 6), ("download lost", 6, 6.5)]
    assert found.server.losses.bytes_not_received == sum(found.server.network.group_bytes.values()) // 2
    assert 1 not in found.server.fleet.missed_download


def test_the_end_of_the_run_cuts_it(paper):
    found = played(paper, 6.5)
    assert [row[1:4] for row in found.spans if row[0] == 1][-1] == ("download cut", 6, 6.5)
    assert found.server.losses.bytes_down_cut > 0
