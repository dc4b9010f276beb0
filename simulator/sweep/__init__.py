"""Many runs: a grid of scenarios, executed by local processes or on a Ray cluster."""

from interlude.simulator.sweep.flags import Flags, parse_flags
from interlude.simulator.sweep.grid import Sweep, load_sweep
from interlude.simulator.sweep.runs import Outcome, run_sweep

__all__ = ["Flags", "Outcome", "Sweep", "load_sweep", "parse_flags", "run_sweep"]
