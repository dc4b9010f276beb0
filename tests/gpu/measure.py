# ruff: noqa: T201
"""What a machine with a GPU has to show: correctness, waits, speed, memory and resumption, in at most ten minutes.

    python tests/gpu/measure.py                      # writes gpu.json and gpu.md into the working directory
    python tests/gpu/measure.py --smoke --device cpu # a moment of each part, to show that it runs

Ordinary test runs do not collect it. Without a GPU it says so and ends.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "benchmarks"), str(HERE.parents[1])]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402 - paths and threads come first
from correctness import compared, waits  # noqa: E402
from every_method import EVERY_METHOD  # noqa: E402
from speed import cases, measured  # noqa: E402
from survival import survives  # noqa: E402
from tables import as_markdown  # noqa: E402

from interlude.simulator.errors import BadInputError  # noqa: E402
from interlude.simulator.run.devices import choose_device, description  # noqa: E402


@dataclass(frozen=True)
class Part:
    """A part of the measurement."""

    name: str
    rows: Sequence[Callable[[], dict[str, Any]]]
    share: float
    """Of the time, by whose end no further row of this part begins."""


def parts(device: torch.device, is_smoke: bool) -> list[Part]:
    """Return the parts, in order."""
    methods = ["fedavg"] if is_smoke else list(EVERY_METHOD)
    return [
        Part("resumption", [partial(survives, device, is_smoke)], 0.1),
        Part("correctness", [partial(compared, method, device) for method in methods], 0.4),
        Part("waits", [partial(waits, method, device) for method in methods], 0.6),
        Part("speed", [partial(measured, case, device) for case in cases(is_smoke)], 1.0),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write what was found after every row; returns the exit code."""
    parser = argparse.ArgumentParser(description="Correctness and speed on a GPU.")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=9.0, help="by which no row begins any more; default: 9")
    parser.add_argument("--output", type=Path, default=Path(), help="directory of gpu.json and gpu.md")
    parser.add_argument("--smoke", action="store_true", help="a moment of each part: only shows that it runs")
    given = parser.parse_args(arguments)
    try:
        device = choose_device(given.device)
    except BadInputError as error:
        print(f"skipped: {error}")
        return 0
    found: dict[str, Any] = {"device": description(device), "torch": torch.__version__, "left_out": []}
    started = time.monotonic()
    for part in parts(device, given.smoke):
        rows: list[dict[str, Any]] = []
        found[part.name] = rows
        for row in part.rows:
            if time.monotonic() - started > 60.0 * given.minutes * part.share:
                found["left_out"].append(part.name)
                break
            try:
                rows.append(row())
            except Exception as error:  # one failure must not hide the others
                rows.append({**_named(row), "error": f"{type(error).__name__}: {error}"})
            print(f"{time.monotonic() - started:5.0f} s  {part.name}: {rows[-1]}", flush=True)
            found["took_s"] = round(time.monotonic() - started, 1)
            (given.output / "gpu.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            (given.output / "gpu.md").write_text(as_markdown(found), encoding="utf-8")
    return int(any("error" in row for part in parts(device, given.smoke) for row in found[part.name]))


def _named(row: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the name of a row that failed."""
    assert isinstance(row, partial)
    named = row.args[0]
    return {"name": named if isinstance(named, str) else getattr(named, "name", str(named))}


if __name__ == "__main__":
    sys.exit(main())
