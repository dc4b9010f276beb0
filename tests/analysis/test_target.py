"""Times to a target and speed-ups, censored ones included."""

import math

import pandas as pd
import pytest

from interlude.analysis.target import speedup_over, times_to_target


def pairs(*rows):
    return pd.DataFrame(rows, columns=["time_s", "reached", "time_s_base", "reached_base"])


@pytest.mark.parametrize(
    ("given", "sign", "mean"),
    [
        (pairs((10, True, 40, True), (10, True, 10, True)), "", 2.0),  # geometric mean of 4 and 1
        (pairs((10, True, 100, False)), "> ", 10.0),
        (pairs((100, False, 10, True)), "< ", 0.1),
        (pairs((100, False, 100, False)), None, math.nan),
        (pairs((10, True, 100, False), (100, False, 10, True)), None, math.nan),
        (pairs(), None, math.nan),
        (pairs((0, True, 10, True)), None, math.nan),  # there from the start
    ],
)
def test_a_speedup_is_a_number_a_bound_or_unknown(given, sign, mean):
    found = speedup_over(given.astype({"reached": bool, "reached_base": bool}))
    assert found == (sign, pytest.approx(mean, nan_ok=True))


def test_a_run_that_never_got_there_is_kept_with_its_length(trained):
    times = times_to_target(trained, 1.0)
    assert len(times) == len(trained)
    assert not times["reached"].any()
    assert (times["time_s"] == 10).all()
