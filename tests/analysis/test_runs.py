"""Finding run directories, and telling scenarios apart."""

import json
import re
import shutil

import pytest

from interlude.analysis.choices import DoesNotApplyError
from interlude.analysis.fields import differing, leaves
from interlude.analysis.runs import by_scenario, common_directory, find_runs, need_one_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.contents import sealed
from interlude.simulator.record.reader import RunRecord


def test_runs_are_found_in_run_scenario_and_parent_directories(timed):
    run, scenario = timed[0].path, timed[0].path.parent
    assert [record.path for record in find_runs([run]).records] == [run]
    assert [record.label for record in find_runs([scenario]).records] == ["fedavg", "mba"]
    assert {record.path for record in timed} <= {record.path for record in find_runs([scenario.parent]).records}


def test_numbers_in_names_count_as_numbers(timed, tmp_path):
    for count in (100, 16, 32):
        shutil.copytree(timed[0].path, tmp_path / f"clients-{count}" / "fedavg-s0")
    assert [r.path.parent.name for r in find_runs([tmp_path]).records] == ["clients-16", "clients-32", "clients-100"]


def test_a_run_named_twice_counts_once(timed):
    assert len(find_runs([timed[0].path, timed[0].path.parent]).records) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "running"}, r"not complete \(running\)"),
        ({"status": "failed", "error": "the loss is not finite"}, r"not complete \(failed: the loss is not finite\)"),
    ],
)
def test_a_run_that_did_not_end_well_is_named(timed, tmp_path, change, said):
    copy = tmp_path / "mba-s0"
    shutil.copytree(timed[0].path, copy)
    (copy / "run.json").write_text(json.dumps(sealed(timed[0].info | change)))
    for path in (copy, tmp_path):
        with pytest.raises(BadInputError, match=said):
            find_runs([path])
    shutil.copytree(timed[0].path, tmp_path / "complete")
    records, left_out = find_runs([tmp_path])
    assert [record.path for record in records] == [tmp_path / "complete"]
    assert len(left_out) == 1
    assert re.search(rf"^left out .*mba-s0: .*{said}", left_out[0])


@pytest.mark.parametrize("broken", ["metrics.csv", "timeline"])
def test_a_damaged_run_is_named(timed, tmp_path, broken):
    copy = tmp_path / "copy"
    shutil.copytree(timed[0].path, copy)
    for path in [copy / broken, *(copy / broken).glob("*")]:
        if path.is_file():
            path.write_bytes(b"")
    record = RunRecord(copy)
    with pytest.raises(
        BadInputError, match=r"(metrics\.csv|part-00000\.parquet): has 0 bytes, but [0-9,]+ were written"
    ):
        _ = record.metrics if broken == "metrics.csv" else record.timeline


@pytest.mark.parametrize("text", ["[]", "{}", '{"label": "mba"}', "3"])
def test_json_that_is_not_a_runs_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadInputError, match="is not a run directory"):
        RunRecord(tmp_path)


def test_leaves_and_what_differs():
    a, b = {"x": {"y": [1, 2]}, "z": None}, {"x": {"y": [1, 3]}, "z": None}
    assert leaves(a) == {"x.y.0": 1, "x.y.1": 2, "z": None}
    assert differing([leaves(a), leaves(b)]) == {"x.y.1": [2, 3]}


def test_scenarios_are_told_apart_and_their_mixture_says_in_what(trained, grid):
    assert list(by_scenario([*trained, *grid])) == ["trained", "grid-2", "grid-4"]
    need_one_scenario(trained)
    with pytest.raises(DoesNotApplyError, match=r"2 scenarios \(grid-2, grid-4; they differ in clients.count: 2, 4\)"):
        need_one_scenario(grid)


def test_the_same_run_in_two_places_is_refused(timed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(timed[0].path, copy)
    with pytest.raises(DoesNotApplyError, match="are both 'fedavg' with seed 0"):
        need_one_scenario([timed[0], RunRecord(copy)])


def test_figures_go_beside_the_runs(trained, grid, monkeypatch):
    parent = trained[0].path.parent.parent
    assert common_directory(trained) == parent / "trained"
    assert common_directory([*trained, *grid]) == parent
    monkeypatch.chdir(parent)
    assert str(common_directory(trained)) == "trained"
