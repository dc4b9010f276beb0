"""Runs scenarios of one checkout without training, one for each line of standard input: what `bench_clock.py` times.

Started with a checkout's root as its argument and on its ``PYTHONPATH``. A line in is a scenario's mapping as JSON, a
line out what the run took. In a checkout without the package `interlude` the import name is still `simulator`.
"""

import json
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(sys.argv[1])
package = import_module("interlude" if (ROOT / "interlude").is_dir() else "simulator")
if Path(str(package.__file__)).resolve().parents[1] != ROOT.resolve():
    sys.exit(f"{package.__name__} comes from {package.__file__}, not from {ROOT}")

for line in sys.stdin:
    scenario = package.parse_scenario(json.loads(line))
    started = time.process_time()
    with tempfile.TemporaryDirectory() as runs:
        (record,) = package.run_scenario(scenario, runs=runs, device="cpu", timing_only=True)
    took = {key: record.info["totals"][key] for key in ("events", "local_rounds", "host_s")}
    took["cpu_s"] = time.process_time() - started
    sys.stdout.write(json.dumps(took) + "\n")
    sys.stdout.flush()
