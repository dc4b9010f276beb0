"""Interlude: a discrete-event simulator of asynchronous multi-modal federated learning.

From Python:

    from simulator import load_scenario, run_scenario

    records = run_scenario(load_scenario("scenarios/quickstart.yaml"))
    records[0].metrics  # a pandas frame: time_s, version, metric, modality, value
"""

from simulator.errors import BadInputError, InterludeError, TrainingError
from simulator.experiment import run_scenario
from simulator.record import RunRecord
from simulator.scenario import Scenario, load_scenario, load_scenarios, parse_scenario

__all__ = [
    "BadInputError",
    "InterludeError",
    "RunRecord",
    "Scenario",
    "TrainingError",
    "load_scenario",
    "load_scenarios",
    "parse_scenario",
    "run_scenario",
]
