"""DivFL: probe, selection by gradients, and what it equals."""

from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.selection import IdleClients
from interlude.simulator.federation.server import Server
from interlude.simulator.methods.divfl import DivFL, DivFLOptions, choose_by_values, probe, subset_draw
from interlude.simulator.methods.facility_location import GradientMap
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions
from interlude.simulator.training.executors.sequential import TimingOnlyExecutor
from interlude.simulator.training.merge import ClientUpdate

NAMES = ("encoder.gray.w", "head.gray.w")


def arrived(client, encoder, head, num_samples=1):
    return ClientUpdate(
        client=client,
        groups=("encoder.gray", "head.gray"),
        num_samples=num_samples,
        staleness=0,
        parameters=dict(zip(NAMES, (torch.tensor([encoder]), torch.tensor([head])), strict=True)),
        start={name: torch.zeros(1) for name in NAMES},
        report={},
    )


def run(given, tmp_path, *methods, **options):
    return run_scenario(parse_scenario({**given, "methods": list(methods)}), runs=tmp_path, **options)


def by_version(record):
    return (
        record.metrics.drop_duplicates(["version", "metric", "modality"]).drop(columns="time_s").reset_index(drop=True)
    )


@pytest.mark.parametrize(("gradients", "apart"), [("model", 5.0), ("encoders", 3.0)])
def test_gradients_are_compared_over_the_chosen_parts(gradients, apart):
    # 0 moved by (0, 0), 1 by (3, 4): 5 apart in all, 3 in the encoder
    method = DivFL(DivFLOptions(gradients=gradients))
    memory = method.learn(GradientMap.empty(2), [arrived(0, 0.0, 0.0), arrived(1, 3.0, 4.0)])
    assert memory.distances.tolist() == [[0, apart], [apart, 0]]


def test_a_merge_is_fedavgs_and_refreshes_the_map():
    # (1 * 2 + 3 * 6) / 4 = 5
    method = DivFL(DivFLOptions())
    model = {name: torch.zeros(1) for name in NAMES}
    merged, memory = method.merge(model, GradientMap.empty(2), [arrived(0, 2.0, 2.0), arrived(1, 6.0, 6.0, 3)])
    assert {value.item() for value in merged.values()} == {5.0}
    assert set(memory.vectors) == {0, 1}


def test_selection_by_hand():
    # on a line at 0, 1, 10: one client stands for all best at 1; of two, 1 and 10 leave 1; the busy one is not chosen
    memory = GradientMap(torch.tensor([[0.0, 1.0, 10.0], [1.0, 0.0, 9.0], [10.0, 9.0, 0.0]]))
    executor = SimpleNamespace(decide=lambda by_values, otherwise: by_values())

    def chosen(num_clients, busy=()):
        idle = IdleClients(3, seed=0)
        for client in busy:
            idle.take(client)
        server = SimpleNamespace(memory=memory, idle=idle, seed=0, num_clients=3, num_returned=3, executor=executor)
        server.take = partial(Server.take, server)
        with pytest.raises(StopIteration) as stop:
            next(DivFL(DivFLOptions(subset_size=3)).choose(server, num_clients))
        roles = list(stop.value.value)
        assert not any(client in idle for client in roles)
        return roles

    assert chosen(1) == [1]
    assert chosen(2) == [1, 2]
    assert chosen(1, busy=[1]) == [0]


def test_subsets_are_drawn_anew_every_step_and_never_change():
    server = SimpleNamespace(seed=0, num_clients=100, num_returned=7)
    draw = subset_draw(server, 4, None)
    left = list(range(100))
    assert len(draw(0, left)) == 10  # a tenth of 100 is more than 4
    assert draw(0, left) != draw(1, left)
    assert draw(0, left) == subset_draw(server, 4, None)(0, left) == sorted(draw(0, left))
    assert len(subset_draw(server, 4, 6)(0, left)) == 6
    assert list(draw(0, [5, 8])) == [5, 8]


def test_without_values_the_draw_is_uniform():
    server = SimpleNamespace(executor=TimingOnlyExecutor(), draw=lambda n: dict.fromkeys(range(n)))
    assert choose_by_values(server, 2, lambda: pytest.fail("there are no values")) == {0: None, 1: None}


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_it_needs_rounds(rule, scenario_with):
    with pytest.raises(BadInputError, match=r"its server\.rule must be 'barrier'"):
        parse_scenario(scenario_with({"methods": [{"name": "divfl", "server": {"rule": rule}}]}))
    assert DivFLOptions().server == Barrier()


class ProbedFedAvg(FedAvg):
    """FedAvg that throws a probe away first, so that it meets DivFL's windows."""

    class Options(FedAvgOptions):
        name: str = ""

    def serve(self, server):
        yield from probe(server)
        yield from super().serve(server)


def test_with_everybody_in_every_round_it_is_fedavg_after_a_probe(scenario_with, tmp_path):
    given = scenario_with({"until": {"versions": 3}, "evaluate.every_s": 1})
    fedavg, divfl = run(given, tmp_path, {"name": f"{__name__}:ProbedFedAvg"}, {"name": "divfl"})
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(divfl))
    pd.testing.assert_frame_equal(
        *(r.timeline.sort_values(["client", "start_s", "end_s"], ignore_index=True) for r in (fedavg, divfl))
    )


@pytest.mark.parametrize("timing_only", [False, True])
def test_rounds_have_their_size(timing_only, scenario_with, tmp_path):
    given = scenario_with({"clients.count": 6, "until": {"versions": 3}, "world.faults.dropout_probability": 0.2})
    server = {"clients_per_round": 2}
    (record,) = run(given, tmp_path, {"name": "divfl", "server": server}, timing_only=timing_only)
    downloads = record.timeline.query("kind == 'download'").groupby("version").size()
    assert downloads[0] >= 6 + 2  # the probe and the first round
    assert (record.timeline.query("kind == 'merge'").groupby("version").size() <= 2).all()
