"""Whether records are whole: every file as it was written."""

from pathlib import Path
from typing import NamedTuple

from interlude.simulator.errors import BadInputError
from interlude.simulator.record.reader import RunRecord, run_directories


class Verdict(NamedTuple):
    """What is known of one record."""

    path: Path
    is_whole: bool
    text: str
    """What is whole, or what is not."""


def verify_runs(path: str | Path) -> list[Verdict]:
    """Return a verdict on every run at or below a path.

    Raises:
        BadInputError: if there is no such directory, or no run in it.
    """
    return [_verdict(directory) for directory in run_directories(path)]


def _verdict(directory: Path) -> Verdict:
    try:
        record = RunRecord(directory)
    except BadInputError as error:
        return Verdict(directory, False, f"not whole: {str(error).removeprefix(f'{directory}: ')}")
    status = record.info["status"]
    if record.contents is None:
        why = "still runs, or was killed" if status == "running" else "its record holds no digests"
        return Verdict(directory, False, f"cannot be verified ({status}): {why}")
    if damages := record.damages():
        listed = "; ".join(f"{name} {damage}" for name, damage in damages.items())
        return Verdict(directory, False, f"not whole ({status}): {listed}")
    parts = [written["rows"] for name, written in record.contents.items() if name.startswith("timeline/")]
    held = (
        f"{len(record.contents)} files, {sum(parts):,} rows in {len(parts)} part{'s' * (len(parts) != 1)} of timeline"
    )
    return Verdict(directory, True, f"whole ({status}): {held}")
