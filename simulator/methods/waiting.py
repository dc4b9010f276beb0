"""Waiting policies: what a client does until its modalities are there.

* ``all``: wait for every modality, then train jointly.
* ``first``: train at once on what has arrived first, the others zero-filled.
* ``opportunistic``: train uni-modally in the gaps, then jointly (MBA).

Each policy is a generator that returns on what joint training starts.
"""

from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Span
from interlude.simulator.training.objective import cross_entropy
from interlude.simulator.training.task import LocalSteps

WaitingName = Literal["all", "first", "opportunistic"]


class Ready(NamedTuple):
    """What a client has when it starts joint training."""

    modalities: tuple[str, ...]
    """The modalities to train on, in the data set's order."""
    early: tuple[str, ...] = ()
    """Those that were trained alone in a gap."""


Waiting = Generator[Span, None, Ready]


def wait_for_all(client: ClientDay, unimodal_epochs: int) -> Waiting:
    """Wait for the last modality."""
    del unimodal_epochs
    for modality in in_arrival_order(client):
        yield from client.wait_for(modality)
    return Ready(client.modalities)


def start_at_first(client: ClientDay, unimodal_epochs: int) -> Waiting:
    """Start with whatever is there once anything is."""
    del unimodal_epochs
    yield from client.wait_for(in_arrival_order(client)[0])
    return Ready(tuple(m for m, arrival_s in client.arrivals_s.items() if arrival_s <= client.now_s))


def train_in_the_gaps(client: ClientDay, unimodal_epochs: int) -> Waiting:
    """Until the next modality arrives, train on those that are there, each alone.

    A step that would not be finished by the next arrival is not taken, so that no gap costs wall-clock time. Several
    early modalities take turns, one mini-batch each.
    """
    order = in_arrival_order(client)
    max_steps = client.num_steps(unimodal_epochs)
    done = dict.fromkeys(client.modalities, 0)
    for position, (modality, next_modality) in enumerate(pairwise(order)):
        yield from client.wait_for(modality)
        gap_s = client.arrivals_s[next_modality] - client.now_s
        steps = plan_gap(client, order[: position + 1], done, gap_s, max_steps)
        if steps:
            yield from client.train(*steps, activity="train_unimodal")
    yield from client.wait_for(order[-1])
    return Ready(client.modalities, tuple(m for m, steps in done.items() if steps > 0))


def in_arrival_order(client: ClientDay) -> list[str]:
    """Return the round's modalities, earliest first; ties in the data set's order."""
    return sorted(client.arrivals_s, key=client.arrivals_s.__getitem__)


def plan_gap(
    client: ClientDay, arrived: Sequence[str], done: dict[str, int], gap_s: float, max_steps: int
) -> list[LocalSteps]:
    """Return the uni-modal steps that fit into a gap, and count them in `done`.

    Args:
        client: whose gap it is.
        arrived: the modalities that are there.
        done: steps that each modality has taken in this local round; updated.
        gap_s: simulated seconds until the next modality.
        max_steps: most steps of one modality in a local round.
    """
    left_s = gap_s - client.overhead_s()
    runs: list[tuple[str, int, int]] = []  # modality, first step, number of steps
    num_planned = -1
    while num_planned < (num_planned := sum(done.values())):
        for modality in arrived:
            step = done[modality]
            if step == max_steps:
                continue
            step_s = client.step_s(cross_entropy((modality,)), step)
            if step_s <= left_s:
                if runs and runs[-1][0] == modality:
                    runs[-1] = (modality, runs[-1][1], runs[-1][2] + 1)
                else:
                    runs.append((modality, step, 1))
                done[modality] = step + 1
                left_s -= step_s
    return [LocalSteps(cross_entropy((m,)), num_steps, f"unimodal-{m}", first) for m, first, num_steps in runs]


WAITING: dict[WaitingName, Callable[[ClientDay, int], Waiting]] = {
    "all": wait_for_all,
    "first": start_at_first,
    "opportunistic": train_in_the_gaps,
}
