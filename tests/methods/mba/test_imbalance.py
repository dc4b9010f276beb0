"""What an MBA server remembers, by hand."""

import pytest
import torch

from interlude.simulator.methods.mba.imbalance import Imbalance


def drift(**values):
    return {modality: torch.tensor(value) for modality, value in values.items()}


def test_imbalance_is_smoothed_and_first_reports_initialise():
    imbalance = Imbalance(("gray", "color"))
    assert {m: r.item() for m, r in imbalance.ratios("far").items()} == {"gray": 1.0, "color": 1.0}
    imbalance = imbalance.updated(drift(gray=0.6), smoothing=0.2)
    assert imbalance.ratios("far")["gray"].item() == 1.0  # one report is nothing to compare with
    imbalance = imbalance.updated(drift(color=0.2), smoothing=0.2)
    # D = (0.6, 0.2), mean 0.4
    assert {m: r.item() for m, r in imbalance.ratios("far").items()} == pytest.approx({"gray": 1.5, "color": 0.5})
    imbalance = imbalance.updated(drift(gray=0.1), smoothing=0.2)
    # D_gray = 0.8 * 0.6 + 0.2 * 0.1 = 0.5; mean 0.35
    ratios = imbalance.ratios("far")
    assert ratios["gray"].item() == pytest.approx(0.5 / 0.35)
    # near: 1 / D = (2, 5), mean 3.5
    near = imbalance.ratios("near")
    assert {m: r.item() for m, r in near.items()} == pytest.approx({"gray": 2.0 / 3.5, "color": 5.0 / 3.5})


def test_no_ratio_is_above_the_number_of_modalities():
    imbalance = Imbalance(("a", "b", "c")).updated(drift(a=1e-6, b=1.0, c=2.0), 0.2)
    for lazy_when in ("far", "near"):
        ratios = [r.item() for r in imbalance.ratios(lazy_when).values()]
        assert sum(ratios) == pytest.approx(3.0)
        assert max(ratios) <= 3.0


def test_imbalance_of_no_drift_at_all_is_balance():
    imbalance = Imbalance(("gray", "color")).updated(drift(gray=0.0, color=0.0), 0.2)
    assert {r.item() for r in imbalance.ratios("far").values()} == {1.0}
    assert {r.item() for r in imbalance.ratios("near").values()} == {1.0}
