"""A probe: before the first round every client trains once, so that the server knows something of each."""

from collections.abc import Callable

from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import Steps
from interlude.simulator.federation.views import Process, ServerView
from interlude.simulator.methods.waiting import Ready, wait_for_all
from interlude.simulator.training.objective import Objective
from interlude.simulator.training.task import LocalSteps

PROBE = "probe"
"""The role of a client that is probed."""


def probe(server: ServerView) -> Process[None]:
    """Send every idle client out in the role `PROBE`, wait for all, and let the method remember what they report."""
    yield from server.ask(dict.fromkeys(sorted(server.fleet.idle), PROBE))


def probe_round(client: ClientDay, objective: Callable[[Ready], Objective], proximal: float) -> Steps:
    """Spend the probe: one epoch on all modalities, at the scenario's learning rate, and its upload.

    Args:
        client: the client probed.
        objective: from what is ready, what is minimised.
        proximal: mu of (mu/2) ||w - w_received||^2.
    """
    yield from client.download()
    ready = yield from wait_for_all(client, 1)
    yield from client.train(LocalSteps(objective(ready), client.num_steps(1), "joint", proximal=proximal))
    yield from client.upload()
