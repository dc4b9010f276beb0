"""Waiting policies: what a client does until its modalities are there.

* ``all``: wait for every modality, then train jointly.
* ``first``: train at once on what has arrived first, the others zero-filled.
* ``opportunistic``: train uni-modally in the gaps, then jointly (MBA).

Each policy is a generator that returns where joint training starts and on what.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal, NamedTuple

from interlude.models.network import Parameters
from interlude.simulator.federation.client_day import LocalRound, Steps
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.task import LocalSteps, Start

WaitingName = Literal["all", "first", "opportunistic"]


class Ready(NamedTuple):
    """What a client has when it starts joint training."""

    start: Start
    """The model to start from."""
    modalities: tuple[str, ...]
    """The modalities to train on."""
    early: tuple[str, ...] = ()
    """Those that were trained alone in a gap."""


def wait_for_all(client: LocalRound, model: Parameters, unimodal_epochs: int) -> Steps:
    """Wait for the last modality."""
    del unimodal_epochs
    for modality in client.modalities_in_arrival_order():
        yield from client.wait_for(modality)
    return Ready(model, client.modalities)


def start_at_first(client: LocalRound, model: Parameters, unimodal_epochs: int) -> Steps:
    """Start with whatever is there once anything is."""
    del unimodal_epochs
    yield from client.wait_for(client.modalities_in_arrival_order()[0])
    return Ready(model, client.arrived())


def train_in_the_gaps(client: LocalRound, model: Parameters, unimodal_epochs: int) -> Steps:
    """Until the next modality arrives, train on those that are there, each alone.

    A step that would not be finished by the next arrival is not taken, so that no gap costs wall-clock time. Several
    early modalities take turns, one mini-batch each.
    """
    start: Start = model
    order = client.modalities_in_arrival_order()
    max_steps = client.num_steps(unimodal_epochs)
    done = dict.fromkeys(client.modalities, 0)
    arrived: list[str] = []
    for modality, next_modality in pairwise(order):
        yield from client.wait_for(modality)
        arrived.append(modality)
        gap_s = client.arrivals_s[next_modality] - client.now_s
        stints = plan_gap(client, arrived, done, gap_s, max_steps)
        if stints:
            start = yield from client.train(*stints, start=start, kind="train_unimodal")
    yield from client.wait_for(order[-1])
    return Ready(start, client.modalities, tuple(m for m, steps in done.items() if steps > 0))


def plan_gap(
    client: LocalRound, arrived: Sequence[str], done: dict[str, int], gap_s: float, max_steps: int
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
    stints: list[LocalSteps] = []
    num_planned = -1
    while num_planned < len(stints):
        num_planned = len(stints)
        for modality in arrived:
            objective = CrossEntropy((modality,))
            step_s = client.step_s(objective, done[modality])
            if done[modality] < max_steps and step_s <= left_s:
                stints.append(LocalSteps(objective, 1, f"unimodal-{modality}", done[modality]))
                done[modality] += 1
                left_s -= step_s
    return _joined(stints)


def _joined(stints: Sequence[LocalSteps]) -> list[LocalSteps]:
    """Join consecutive stints of one modality, so that an executor sees long runs."""
    joined: list[LocalSteps] = []
    for stint in stints:
        if joined and joined[-1].objective == stint.objective:
            joined[-1] = replace(joined[-1], num_steps=joined[-1].num_steps + stint.num_steps)
        else:
            joined.append(stint)
    return joined


WAITING: dict[WaitingName, Callable[[LocalRound, Parameters, int], Steps]] = {
    "all": wait_for_all,
    "first": start_at_first,
    "opportunistic": train_in_the_gaps,
}
