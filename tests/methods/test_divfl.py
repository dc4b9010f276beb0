"""DivFL: probe, selection by gradients, and what it equals."""

import numpy as np
import pandas as pd
import pytest
import torch

from interlude import parse_scenario, run_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.views import SelectionView
from interlude.simulator.methods.divfl import DivFL, DivFLOptions
from interlude.simulator.methods.facility_location import GradientMap, subset_draw
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions
from interlude.simulator.methods.probe import probe
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


def view_of(memory, idle, num_clients, num_returned):
    population = Population([np.arange(1)] * num_clients, [("gray",)] * num_clients)
    return SelectionView(seed=0, version=0, num_returned=num_returned, idle=idle, population=population, memory=memory)


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
    memory = method.remember(GradientMap.empty(2), [arrived(0, 0.0, 0.0), arrived(1, 3.0, 4.0)])
    assert memory.distances.tolist() == [[0, apart], [apart, 0]]


def test_a_merge_is_fedavgs_and_refreshes_the_map():
    # (1 * 2 + 3 * 6) / 4 = 5
    method = DivFL(DivFLOptions())
    model = {name: torch.zeros(1) for name in NAMES}
    merged, memory = method.advance(model, GradientMap.empty(2), [arrived(0, 2.0, 2.0), arrived(1, 6.0, 6.0, 3)])
    assert {value.item() for value in merged.values()} == {5.0}
    assert set(memory.vectors) == {0, 1}


def test_selection_by_hand():
    # on a line at 0, 1, 10: one client stands for all best at 1; of two, 1 and 10 leave 1; the busy one is not chosen
    distances = torch.tensor([[0.0, 1.0, 10.0], [1.0, 0.0, 9.0], [10.0, 9.0, 0.0]])
    memory = GradientMap(distances, {client: torch.tensor([x]) for client, x in enumerate((0.0, 1.0, 10.0))})

    def chosen(num_clients, idle=(0, 1, 2)):
        return DivFL(DivFLOptions(subset_size=3)).select(view_of(memory, idle, 3, 3), num_clients)

    assert chosen(1) == {1: None}
    assert list(chosen(2)) == [1, 2]
    assert list(chosen(1, idle=(0, 2))) == [0]


def test_subsets_are_drawn_anew_every_step_and_never_change():
    view = view_of(None, range(100), 100, 7)
    draw = subset_draw(view, 4, None)
    left = list(range(100))
    assert len(draw(0, left)) == 10  # a tenth of 100 is more than 4
    assert draw(0, left) != draw(1, left)
    assert draw(0, left) == subset_draw(view, 4, None)(0, left) == sorted(draw(0, left))
    assert len(subset_draw(view, 4, 6)(0, left)) == 6
    assert list(draw(0, [5, 8])) == [5, 8]


def test_without_values_the_draw_is_uniform():
    assert DivFL(DivFLOptions()).select(view_of(GradientMap.empty(3), (0, 1, 2), 3, 3), 2) is None


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_it_needs_rounds(rule, scenario_with):
    with pytest.raises(BadInputError, match=rf"methods\.0\.server\.rule: must be 'barrier'; given '{rule}'"):
        parse_scenario(scenario_with({"methods": [{"name": "divfl", "server": {"rule": rule}}]}))
    assert DivFLOptions().server == Barrier()


class ProbedFedAvg(FedAvg):
    """FedAvg that throws a probe away first, so that it meets DivFL's windows."""

    class Options(FedAvgOptions):
        name: str = ""

    def before_rounds(self, server):
        yield from probe(server)


def test_with_all_clients_in_every_round_it_is_fedavg_after_a_probe(scenario_with, tmp_path):
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
    downloads = record.timeline.query("activity == 'download'").groupby("version").size()
    assert downloads[0] >= 6 + 2  # the probe and the first round
    assert (record.timeline.query("activity == 'merge'").groupby("version").size() <= 2).all()
