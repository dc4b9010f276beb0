"""Counts out of decimal factors: as many as the decimals say, wherever a factor or a share becomes whole clients."""

import pytest
from paper_world import play

from interlude.simulator.counts import ceil_product, round_product
from interlude.simulator.data.partition import hold_modalities
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.methods.fedmchain.consensus import num_kept
from interlude.simulator.methods.powerofchoice import PowerOfChoiceOptions


def test_products_are_those_of_the_decimals():
    for count in range(1, 201):
        for hundredths in range(100, 301, 3):
            assert ceil_product(count, hundredths / 100) == -(-count * hundredths // 100)


@pytest.mark.parametrize(
    ("count", "share", "rounded"), [(100, 0.575, 58), (100, 0.57, 57), (40, 0.1, 4), (10, 0.35, 4), (10, 0.25, 2)]
)
def test_shares_are_rounded_as_decimals(count, share, rounded):
    assert round_product(count, share) == rounded


@pytest.mark.parametrize("entry", [{"name": "fedavg"}, {"name": "fedmchain", "phase_epochs": 1}], ids=str)
def test_a_tenth_more_than_a_hundred_clients_are_a_hundred_and_ten(entry):
    rule = {"rule": "barrier", "clients_per_round": 100, "over_selection": 1.1}
    delays_s = {"gray": [1.0] * 120, "color": [1.0] * 120}
    run = play(entry | {"server": rule}, 0.5, delays_s=delays_s, step_s=[1.0] * 120)
    assert run.server.fleet.num_in_flight == 110


def test_memory_is_estimated_for_as_many():
    assert Barrier(clients_per_round=100, over_selection=1.1).in_flight(120).num_clients == 110
    assert Barrier(over_selection=1.1).in_flight(100).num_clients == 100


def test_as_many_candidates_suffice():
    server = {"clients_per_round": 100, "over_selection": 1.1}
    assert PowerOfChoiceOptions(candidates=110, server=server).candidates == 110
    with pytest.raises(ValueError, match="the 111 clients that a round sends out"):
        PowerOfChoiceOptions(candidates=110, server={"clients_per_round": 100, "over_selection": 1.101})


def test_shares_of_clients_and_of_values():
    held = hold_modalities(0.575, ("gray", "color"), 100, 0)
    assert sum(len(modalities) == 2 for modalities in held) == 58
    held = hold_modalities(1.0, ("gray", "color"), 100, 0, {"gray": 0.575})
    assert sum("gray" in modalities for modalities in held) == 58
    assert num_kept(100, 0.575) == 58
