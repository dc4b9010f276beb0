"""Run directories without a run: what analysis reads, written in milliseconds."""

from copy import deepcopy

import pyarrow as pa

from interlude.simulator.federation.timeline import SCHEMA
from interlude.simulator.record.writer import RunWriter

SCENARIO = {
    "name": "base",
    "data": {"dataset": "cg-digits"},
    "model": {"encoder": "mlp"},
    "clients": {"count": 2},
    "world": {"network": {"uplink_mbps": 5.0}},
    "training": {"batch_size": 32},
    "until": {"simulated_s": 10.0},
    "evaluate": {"target_accuracy": None},
}
SPANS = [(0, "download", 0, 1), (0, "train", 1, 6), (0, "upload", 6, 10), (1, "download", 0, 2), (1, "train", 2, 10)]


def write_run(
    runs, label, seed=0, final=0.5, *, point="base", changes=None, options=None, origin=None, totals=None, **identity
):
    """Write a complete run of two evaluations, at 0 and 10 simulated seconds; return its record.

    Args:
        runs: the directory of all runs.
        label: of its method, whose name it is unless the options say otherwise.
        seed: of the run.
        final: its accuracy at 10 s, of the fused model; that of each modality is half of it.
        point: the scenario's name.
        changes: sections of the scenario.
        options: of the method.
        origin: what run.json says of the order of methods, and of swept fields.
        totals: more of run.json's.
        identity: what run.json says of files, device and code.
    """
    entry = {"name": label, "label": label, **(options or {})}
    scenario = {**deepcopy(SCENARIO), **(changes or {}), "name": point, "seed": seed, "methods": [entry]}
    known = {"device": "cpu", "timing_only": False, "digest": "d", "code": "c", "files": {}, **identity}
    writer = RunWriter(runs / point / f"{label}-s{seed}", {"label": label, "seed": seed, **known, "scenario": scenario})
    if origin is not None:
        writer.add_facts({"origin": {"scenario": "base", **origin}})
    writer.add_partition([["gray", "color"]] * 2, [[0, 1], [1, 1]])
    for time_s, fused in ((0.0, 0.1), (10.0, final)):
        values = {"fused": fused, "gray": fused / 2, "color": fused / 2}
        writer.add_metrics(time_s, int(time_s), [("accuracy", name, value) for name, value in values.items()])
    rows = [
        {"client": client, "activity": activity, "outcome": "done", "is_slow": False, "start_s": start, "end_s": end}
        | {"bytes": 100 if activity != "train" else 0, "flops": 0}
        for client, activity, start, end in SPANS
    ]
    writer.add_timeline(pa.Table.from_pylist(rows, SCHEMA))
    return writer.close("complete", {"simulated_s": 10.0, "versions": 1, **(totals or {})})
