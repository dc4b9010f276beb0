"""Files of a record that are cut, changed, emptied or missing: one sentence that names them, or no difference."""

import json
import shutil

import pytest
import yaml
from command_line import call, files_under
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlude import BadInputError, RunRecord, parse_scenario, run_scenario
from interlude.analysis.runs import find_runs
from interlude.simulator.record.contents import SEAL, sealed

FILES = ("run.json", "metrics.csv", "partition.csv", "model.safetensors", "timeline/part-00000.parquet")
DAMAGES = ("gone", "empty", "cut", "cut at a line", "flipped", "a directory")


@pytest.fixture(scope="module")
def scenario_dict(scenario_with):
    changes = {"clients.count": 2, "model.width": 4, "until.simulated_s": 6, "evaluate.every_s": 3}
    return scenario_with({**changes, "executor": {"kind": "sequential"}})


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, scenario_dict):
    """Runs of two seeds, made once."""
    runs = tmp_path_factory.mktemp("pristine")
    for seed in (0, 1):
        run_scenario(parse_scenario({**scenario_dict, "seed": seed}), runs=runs, device="cpu", workers=1)
    return runs


@pytest.fixture
def runs(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "runs")


def damage(path, kind, position=0.5, bit=0):
    """Damage a file; returns whether its bytes differ now."""
    before = path.read_bytes()
    at = int(position * (len(before) - 1))
    match kind:
        case "gone" | "a directory":
            path.unlink()
            if kind == "a directory":
                path.mkdir()
            return True
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(before[:at])
        case "cut at a line":
            path.write_bytes(before[: before.rfind(b"\n", 0, at + 1) + 1])
        case "flipped":
            path.write_bytes(before[:at] + bytes([before[at] ^ (1 << bit)]) + before[at + 1 :])
    return path.read_bytes() != before


def content(record):
    """Return all that analysis sees of a run; how long it took is no result."""
    info = {key: value for key, value in record.info.items() if key != SEAL}
    totals = {key: value for key, value in info["totals"].items() if key != "host_s"}
    return record.metrics, record.partition, record.timeline, {**info, "totals": totals}


@given(
    st.sampled_from(FILES), st.sampled_from(DAMAGES), st.floats(0, 1), st.integers(0, 7)
)  # fmt: skip
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_run_is_left_out_by_name_or_reads_as_before(pristine, tmp_path_factory, file, kind, position, bit):
    runs = tmp_path_factory.mktemp("damaged") / "runs"
    shutil.copytree(pristine, runs)
    path = runs / "tiny/fedavg-s0"
    whole = content(RunRecord(path))
    damage(path / file, kind, position, bit)
    records, left_out = find_runs([runs])
    assert records[-1].path.name == "fedavg-s1"
    if len(records) == 2:
        *tables, info = content(records[0])
        assert all(a.equals(b) for a, b in zip(tables, whole, strict=False))
        assert info == whole[-1]
    else:
        (said,) = left_out
        assert said.startswith(f"left out {path}")
        assert len(said) < 400
        with pytest.raises(BadInputError, match="fedavg-s0"):
            find_runs([path])


@pytest.mark.parametrize("file", ["run.json", "metrics.csv"])
def test_the_neighbours_damage_fails_no_good_run(runs, tmp_path, scenario_dict, capsys, file):
    damage(runs / "tiny/fedavg-s1" / file, "cut")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(scenario_dict))
    result = call(capsys, "run", tmp_path / "tiny.yaml", "--runs", runs, "--device", "cpu", "--workers", 1)
    assert result.code == 0, result.err
    assert f"left out of the summary: {runs / 'tiny/fedavg-s1'}" in result.err
    assert (runs / "tiny/summary.csv").read_text().splitlines()[1].startswith("fedavg,1,")


def test_a_damaged_run_is_not_taken_for_finished(runs, tmp_path, scenario_dict, capsys):
    damage(runs / "tiny/fedavg-s0/model.safetensors", "flipped")
    before = files_under(runs)
    scenario = tmp_path / "tiny.yaml"
    scenario.write_text(yaml.safe_dump(scenario_dict))
    command = ["run", scenario, "--runs", runs, "--device", "cpu", "--workers", 1]
    code, out, err = call(capsys, *command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "model.safetensors: is not what was written" in err
    assert "--overwrite" in err
    assert files_under(runs) == before
    assert call(capsys, *command, "--overwrite").code == 0
    assert call(capsys, "verify", runs).code == 0


@pytest.mark.parametrize("command", ["trace", "report", "plot"])
@pytest.mark.parametrize(("file", "kind"), [("metrics.csv", "cut at a line"), ("timeline/part-00000.parquet", "gone")])
def test_what_reads_one_run_refuses_it_in_a_sentence(runs, capsys, command, file, kind):
    path = runs / "tiny/fedavg-s0"
    damage(path / file, kind)
    before = files_under(runs)
    code, out, err = call(capsys, command, path)
    assert (code, out) == (2, "")
    assert err.startswith(f"interlude: {path / file}: ")
    assert files_under(runs) == before


def test_a_part_of_another_timeline_is_noticed(runs):
    part = runs / "tiny/fedavg-s0/timeline/part-00000.parquet"
    shutil.copy(part, part.with_name("part-00001.parquet"))
    with pytest.raises(BadInputError, match=r"part-00001\.parquet: is not a part of this run"):
        _ = RunRecord(runs / "tiny/fedavg-s0").timeline


def test_verify_says_what_is_whole(runs, capsys):
    good, bad = runs / "tiny/fedavg-s0", runs / "tiny/fedavg-s1"
    code, out, err = call(capsys, "verify", runs)
    assert (code, err, out.count(": whole (complete): 4 files, ")) == (0, "", 2)
    damage(bad / "metrics.csv", "cut")
    damage(bad / "partition.csv", "gone")
    code, out, err = call(capsys, "verify", good, bad)
    assert (code, err) == (1, "")
    first, second = out.splitlines()
    assert first.startswith(f"{good}: whole")
    assert second.startswith(f"{bad}: not whole (complete): metrics.csv has ")
    assert second.endswith("; partition.csv is missing")
    damage(bad / "run.json", "empty")
    assert call(capsys, "verify", runs).out.splitlines()[1].startswith(f"{bad}: not whole: is not a run directory")
    assert call(capsys, "verify", runs / "nowhere").code == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 3}, "label: "),
        ({"seed": "0"}, "seed: "),
        ({"scenario": []}, "scenario: "),
        ({"status": {}}, "status: "),
        ({"totals": 5}, "totals: "),
        ({"totals": {"simulated_s": "x"}}, "totals.simulated_s: "),
        ({"contents": {"metrics.csv": 1}}, "contents.metrics.csv: "),
    ],
)
def test_wrong_types_in_run_json_are_one_sentence(runs, change, said):
    info = runs / "tiny/fedavg-s0/run.json"
    info.write_text(json.dumps(sealed(json.loads(info.read_text()) | change)))
    with pytest.raises(BadInputError) as refused:
        RunRecord(info.parent)
    assert str(refused.value).startswith(f"{info}: {said}")
    assert find_runs([runs]).records[0].seed == 1


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "\xff", "NaN", '{"seed": ' + "9" * 5000 + "}"])
def test_json_that_no_reader_takes_is_one_sentence(runs, text):
    (runs / "tiny/fedavg-s0/run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInputError, match="is not a run directory"):
        RunRecord(runs / "tiny/fedavg-s0")


def test_a_record_from_before_digests_were_kept_is_read_and_not_vouched_for(runs, capsys):
    info = runs / "tiny/fedavg-s0/run.json"
    old = {key: value for key, value in json.loads(info.read_text()).items() if key not in (SEAL, "contents")}
    info.write_text(json.dumps(old))
    assert len(RunRecord(info.parent).timeline)
    code, out, _ = call(capsys, "verify", info.parent)
    assert (code, out) == (1, f"{info.parent}: cannot be verified (complete): its record holds no digests\n")
