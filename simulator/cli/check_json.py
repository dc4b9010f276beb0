"""The output of `interlude check --json`: what would run, its needs and totals, as plain data."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from interlude.simulator.run.build import Testbed, how_trained
from interlude.simulator.run.estimate import Estimate
from interlude.simulator.run.first_rounds import FirstRounds
from interlude.simulator.scenario.registry import foreign_code
from interlude.simulator.scenario.scenario import Scenario


def planned(scenarios: Iterable[Scenario]) -> list[dict[str, Any]]:
    """Return the runs that are planned, and the code of a user's own that they call."""
    return [
        {
            "scenario": scenario.name,
            "seed": scenario.seed,
            "methods": [method.run_label for method in scenario.methods],
            "swept": scenario.origin.swept,
            "foreign_code": [code._asdict() for code in foreign_code(scenario)],
        }
        for scenario in scenarios
    ]


def checked(
    testbed: Testbed, device: torch.device, rounds: FirstRounds, estimates: Sequence[Estimate]
) -> dict[str, Any]:
    """Return what `interlude check` says of a scenario.

    Args:
        testbed: the scenario's data set, clients and world.
        device: where it would train.
        rounds: durations of its clients' first local rounds.
        estimates: needs and totals of each of its methods.
    """
    scenario, dataset = testbed.scenario, testbed.dataset
    durations = {name: getattr(rounds, name) for name in FirstRounds.__dataclass_fields__}
    methods = []
    for options, estimate in zip(scenario.methods, estimates, strict=True):
        batch_size = scenario.training_of(options).batch_size
        how, why = how_trained(scenario.executor, testbed.ingredients(options).network, device, batch_size)
        methods.append(
            {
                "label": options.run_label,
                "waiting": options.waiting,
                "server": options.server.rule,
                "training": {"how": how, "why": why},
                "estimate": estimate,
            }
        )
    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "dataset": scenario.data.dataset,
        "num_classes": dataset.num_classes,
        "modalities": {modality: list(given.shape) for modality, given in dataset.inputs.items()},
        "samples": {
            "training": len(dataset.train[1]),
            "validation": len(testbed.validation),
            "test": len(dataset.test[1]),
        },
        "clients": {"count": len(testbed.population.shards), "samples": [len(s) for s in testbed.population.shards]},
        "model_bytes": testbed.network.group_bytes,
        "device": str(device),
        "first_round_s": {
            name.removesuffix("_s"): dict(
                zip(("fastest", "median", "slowest"), np.quantile(values, (0, 0.5, 1)), strict=True)
            )
            for name, values in durations.items()
        },
        "limits": scenario.limits.model_dump(),
        "methods": methods,
    }
