"""Interlude: a discrete-event simulator of asynchronous multi-modal federated learning.

From Python:

    import interlude

    records = interlude.run_scenario(interlude.load_scenario("scenarios/quickstart.yaml"))
    records[0].metrics  # a pandas frame: time_s, version, metric, modality, value
    records = interlude.load_records("runs/quickstart")  # complete runs at or below a directory
    table = interlude.load_runs("runs/client_scaling")  # a pandas frame: a row per run, swept fields as columns
    interlude.draw_figure("accuracy-vs-time", records, width="ieee").savefig("accuracy.pdf")  # every kind of figure

`dataset`, `encoder` and `fusion` declare code of your own that a scenario may name as ``package.module:name``.

The members `simulator`, `models` and `analysis` are links to the folders of the same names beside this one. Names are
imported when they are first used, so that ``import interlude`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlude.analysis.one_figure import draw_figure
    from interlude.analysis.tidy import load_runs
    from interlude.models.inputs import InputSpec
    from interlude.simulator.data.dataset import Dataset
    from interlude.simulator.errors import BadInputError, InterludeError, TrainingError
    from interlude.simulator.own_code.foreign import dataset, encoder, fusion
    from interlude.simulator.record.reader import RunRecord, load_records
    from interlude.simulator.run.callbacks import Callback
    from interlude.simulator.run.experiment import run_scenario
    from interlude.simulator.scenario.loading import load_scenario, load_scenarios, parse_scenario
    from interlude.simulator.scenario.scenario import Scenario

_HOMES = {
    "BadInputError": "simulator.errors",
    "Callback": "simulator.run.callbacks",
    "Dataset": "simulator.data.dataset",
    "InputSpec": "models.inputs",
    "InterludeError": "simulator.errors",
    "RunRecord": "simulator.record.reader",
    "Scenario": "simulator.scenario.scenario",
    "TrainingError": "simulator.errors",
    "dataset": "simulator.own_code.foreign",
    "draw_figure": "analysis.one_figure",
    "encoder": "simulator.own_code.foreign",
    "fusion": "simulator.own_code.foreign",
    "load_records": "simulator.record.reader",
    "load_runs": "analysis.tidy",
    "load_scenario": "simulator.scenario.loading",
    "load_scenarios": "simulator.scenario.loading",
    "parse_scenario": "simulator.scenario.loading",
    "run_scenario": "simulator.run.experiment",
}

__all__ = [
    "BadInputError",
    "Callback",
    "Dataset",
    "InputSpec",
    "InterludeError",
    "RunRecord",
    "Scenario",
    "TrainingError",
    "dataset",
    "draw_figure",
    "encoder",
    "fusion",
    "load_records",
    "load_runs",
    "load_scenario",
    "load_scenarios",
    "parse_scenario",
    "run_scenario",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'interlude' has no attribute '{name}'")
    return getattr(import_module(f"interlude.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "analysis", "models", "simulator"]
