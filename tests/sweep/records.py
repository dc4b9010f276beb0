"""What sweeps leave in a folder of runs."""

import json


def records_in(runs):
    """Return what run directories say, by path, but for how long they took."""
    found = {}
    for info_file in runs.rglob("run.json"):
        for path in info_file.parent.rglob("*"):
            if path.is_file() and path != info_file:
                found[str(path.relative_to(runs))] = path.read_bytes()
        info = json.loads(info_file.read_text())
        info.get("totals", {}).pop("host_s", None)
        found[str(info_file.relative_to(runs))] = info
    return found


def times_in(runs):
    return {str(path): path.stat().st_mtime_ns for path in runs.rglob("run.json")}
