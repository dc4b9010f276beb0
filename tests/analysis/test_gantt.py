"""Interludes against hand-drawn days of one client."""

import pandas as pd
import pytest

from interlude.analysis.gantt import interludes


def day(*rows):
    """Make spans of (activity, start, end, modality) that were not interrupted."""
    return pd.DataFrame(rows, columns=["activity", "start_s", "end_s", "modality"]).assign(outcome="done")


DAYS = {
    # download 0-1, gray there at 3, trained 3-4, color there at 7
    "a gap that is trained in": (
        day(
            ("download", 0, 1, None),
            ("wait", 1, 3, "gray"),
            ("train_unimodal", 3, 4, "gray"),
            ("wait", 4, 7, "color"),
            ("train", 7, 8, "gray+color"),
            ("upload", 8, 9, None),
        ),
        [(3, 7, 1)],
    ),
    "gray was there before the download ended": (
        day(("download", 0, 1, None), ("wait", 1, 7, "color"), ("train", 7, 8, "gray+color")),
        [(1, 7, 0)],
    ),
    "both were there": (day(("download", 0, 1, None), ("train", 1, 2, "gray+color")), []),
    "only one modality": (day(("download", 0, 1, None), ("wait", 1, 5, "gray"), ("train", 5, 6, "gray")), []),
    "a round cut by the end of the run": (day(("download", 0, 1, None), ("wait", 1, 5, "gray")), []),
    "three modalities, then a second round": (
        day(
            ("download", 0, 1, None),
            ("wait", 1, 2, "a"),
            ("wait", 2, 4, "b"),
            ("wait", 4, 5, "c"),
            ("train", 5, 6, "a+b+c"),
            ("download", 6, 7, None),
            ("wait", 7, 9, "a"),
            ("wait", 9, 10, "c"),
            ("train", 10, 11, "a+b+c"),
        ),
        [(2, 5, 0), (7, 10, 0)],
    ),
}


@pytest.mark.parametrize("name", DAYS)
def test_interludes_run_from_the_first_arrival_to_the_last(name):
    spans, expected = DAYS[name]
    assert list(interludes(spans)) == expected
