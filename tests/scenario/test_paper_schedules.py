"""The paper's scenario follows the round numbers of BMSFed's code, which counts from 0 and includes the last."""

from pathlib import Path

import pytest

from interlude import load_scenarios
from interlude.simulator.methods.fedogm import FedOGMOptions
from interlude.simulator.methods.fedpmr import FedPMROptions
from interlude.simulator.methods.fedproto import FedProtoOptions

PAPER = Path(__file__).parents[2] / "scenarios" / "paper" / "bmsfed_cgmnist.yaml"


@pytest.mark.parametrize("options", [FedOGMOptions(), FedPMROptions(), FedProtoOptions()], ids=lambda o: o.name)
def test_modulation_acts_in_rounds_0_to_70(options):
    assert [version for version in range(180) if version in options.versions] == list(range(71))


def test_the_learning_rate_is_constant_through_round_80_and_then_on_the_line():
    rate_at = load_scenarios(PAPER)[0].training.optimizer.rate_at
    assert [rate_at(version) for version in (0, 80)] == [0.01, 0.01]
    # 0.01 - 0.009 round / 180
    assert [rate_at(version) for version in (81, 100, 179)] == pytest.approx([0.00595, 0.005, 0.00105])
