"""What is not a run's is never removed."""

import json

import pytest
from command_line import call, files_under

from interlude import BadInputError, parse_scenario, run_scenario
from interlude.simulator.run.interruption import ResumePolicy


@pytest.fixture
def scenario(scenario_with):
    return parse_scenario(scenario_with({"until.simulated_s": 5}))


@pytest.mark.parametrize("text", ["{}", "[]", "", '{"scripts": {"build": "tsc"}}', '{"label": "x", "seed": 0}'])
def test_a_run_json_that_is_no_record_makes_a_directory_no_runs(scenario_file, tmp_path, capsys, text):
    path = tmp_path / "runs/tiny/fedavg-s0"
    (path / "timeline").mkdir(parents=True)
    for name in ("run.json", "metrics.csv", "timeline/part-00000.parquet", "thesis.txt"):
        (path / name).write_text(text if name == "run.json" else "all of it")
    before = files_under(tmp_path / "runs")
    for flags in ([], ["--overwrite"], ["--resume"]):
        code, out, err = call(capsys, "run", scenario_file(), "--runs", tmp_path / "runs", "--timing-only", *flags)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert str(path) in err
    assert files_under(tmp_path / "runs") == before


def test_files_beside_a_runs_are_left_alone_and_named(scenario, tmp_path):
    (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True)
    foreign = {
        "notes.txt": b"mine",
        "timeline/mine.parquet": b"mine",
        "checkpoint/mine.safetensors": b"mine",
        "figures/run.json": b"mine",
    }
    for name, content in foreign.items():
        (record.path / name).parent.mkdir(exist_ok=True)
        (record.path / name).write_bytes(content)
    (record.path / "timeline/part-00007.parquet").write_bytes(b"of a longer run")
    said = []
    (record,) = run_scenario(
        scenario, runs=tmp_path, timing_only=True, overwrite=True, policy=ResumePolicy(say=said.append)
    )
    found = files_under(record.path)
    assert {name: found[name] for name in foreign} == foreign
    assert "timeline/part-00007.parquet" not in found
    assert record.damages() == {}
    assert len(said) == 1
    assert "leaves alone what is not the run's: " in said[0]


def test_nothing_is_removed_where_something_else_has_the_place_of_a_runs_file(scenario, tmp_path):
    (record,) = run_scenario(scenario, runs=tmp_path / "runs", timing_only=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/part-00000.parquet").write_bytes(b"precious")
    (record.path / "timeline/part-00000.parquet").unlink()
    (record.path / "timeline").rmdir()
    (record.path / "timeline").symlink_to(tmp_path / "elsewhere")
    before = files_under(tmp_path)
    with pytest.raises(BadInputError, match="timeline: is a link that is not the run's"):
        run_scenario(scenario, runs=tmp_path / "runs", timing_only=True, overwrite=True)
    assert files_under(tmp_path) == before
    (record.path / "timeline").unlink()
    (record.path / "metrics.csv").unlink()
    (record.path / "metrics.csv").mkdir()
    (record.path / "metrics.csv/precious").write_bytes(b"precious")
    with pytest.raises(BadInputError, match=r"metrics\.csv: is a directory that is not the run's"):
        run_scenario(scenario, runs=tmp_path / "runs", timing_only=True, overwrite=True)
    assert (record.path / "metrics.csv/precious").read_bytes() == b"precious"


def test_a_file_in_the_place_of_a_run_directory_is_one_sentence(scenario, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/fedavg-s0").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(BadInputError, match="fedavg-s0: is not a directory"):
            run_scenario(scenario, runs=tmp_path, timing_only=True, overwrite=overwrite)
    assert (tmp_path / "tiny/fedavg-s0").read_text() == "mine"


def test_a_record_of_another_schema_can_be_replaced(scenario, tmp_path):
    (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True)
    old = {key: record.info[key] for key in ("status", "label", "seed", "scenario")}
    (record.path / "run.json").write_text(json.dumps(old))
    (record,) = run_scenario(scenario, runs=tmp_path, timing_only=True, overwrite=True)
    assert record.is_complete
