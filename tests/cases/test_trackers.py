"""Records in trackers: every point once, over simulated seconds, also after an interruption, read back from files.

The programs themselves are extras, so a test of one that is not installed is skipped.
"""

import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from written_runs import write_run

from interlude import BadInputError, RunRecord
from interlude.analysis.trackers.export import LiveTracking, export
from interlude.analysis.trackers.points import Cursor, points_after
from interlude.analysis.trackers.registry import TRACKERS, tracker_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages


@pytest.fixture
def record(tmp_path):
    """A run of two evaluations, at 0 and 10 simulated seconds, with accuracies 0.1 and 0.5."""
    return write_run(tmp_path / "runs", "mba", options={"beta": 2.0})


def tensorboard(folder):
    events = import_module("tensorboard.backend.event_processing.event_accumulator")
    (run,) = {path.parent for path in folder.rglob("mba-s0/events*")}
    read = events.EventAccumulator(str(run))
    read.Reload()
    return [(event.step, round(event.value, 6)) for event in read.Scalars("accuracy/fused")]


def mlflow(folder):
    client = import_module("mlflow").MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("base")
    (run,) = (run for run in client.search_runs([experiment.experiment_id]) if run.info.run_name == "mba-s0")
    assert run.data.tags.items() >= {"method": "mba", "seed": "0", "scenario": "base"}.items()
    assert run.data.params["method.beta"] == "2.0"
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "accuracy/fused")]


def wandb(folder):
    """Read the offline run directories, in the order of their making."""
    messages = import_module("wandb.proto.wandb_internal_pb2")
    points = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns):
        for data in leveldb_log(path.read_bytes()):
            message = messages.Record()
            message.ParseFromString(data)
            row = {"/".join(item.nested_key) or item.key: item.value_json for item in message.history.item}
            if "accuracy/fused" in row:
                points.append((float(row["simulated_s"]), float(row["accuracy/fused"])))
    return points


def leveldb_log(data):
    """Yield the records of a log in LevelDB's format, behind a header of 7 bytes: blocks of 32 KiB hold pieces."""
    place, record = 7, b""
    while place + 7 <= len(data):
        if (left := -place % 32768) and left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:  # whole, or the last piece
            yield record
            record = b""


def trackio(folder):
    storage = import_module("trackio.sqlite_storage").SQLiteStorage
    rows = storage.get_logs("interlude", "base-mba-s0")
    return [(row["step"], row["accuracy/fused"]) for row in rows if "accuracy/fused" in row]


def csv(folder):
    rows = pd.read_csv(folder / "metrics.csv").query("metric == 'accuracy/fused' and run == 'mba-s0'")
    return list(zip(rows["time_s"], rows["value"], strict=True))


READERS = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb, "trackio": trackio, "csv": csv}


@pytest.mark.parametrize("name", TRACKERS)
def test_every_point_is_written_once_live_then_interrupted_and_exported(name, record, tmp_path, monkeypatch):
    """A tracked run that is killed after its second evaluation, resumed from before it, and exported at the end."""
    for package in () if name == "csv" else (name,):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / name))
    for module in [module for module in sys.modules if module.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, module)
    metrics = record.path / "metrics.csv"
    whole = metrics.read_bytes()
    first = whole[: whole.index(b"10.0,")]

    def live():
        return LiveTracking(tracker_of(name, tmp_path / name), {"mba": record.path}, pytest.fail)

    killed = live()
    for content in (first, whole):
        metrics.write_bytes(content)
        killed.update("mba")
    killed.close()
    resumed = live()
    for content in (first, whole):
        metrics.write_bytes(content)
        resumed.update("mba")
    resumed.finish([record])
    assert READERS[name](tmp_path / name) == [(0, 0.1), (10, 0.5)]
    assert export([record], tracker_of(name, tmp_path / name)) == (0, 0)
    assert READERS[name](tmp_path / name) == [(0, 0.1), (10, 0.5)]


def test_a_line_without_its_end_waits_for_the_next_reading(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"time_s,version,metric,modality,value\n0.0,0,accuracy,fused,0.5\n0.0,0,loss,,nan\n1.0,1,accu")
    (point,), cursor = points_after(path, Cursor())
    assert (point.time_s, point.values) == (0.0, {"accuracy/fused": 0.5})  # what is not finite is left out
    path.write_bytes(path.read_bytes() + b"racy,fused,0.75\n")
    (point,), _ = points_after(path, cursor)
    assert (point.index, point.version, point.values) == (1, 1, {"accuracy/fused": 0.75})


def test_another_run_of_the_same_name_is_an_entry_of_its_own(tmp_path):
    for code in ("c1", "c2"):
        export([write_run(tmp_path / code, "mba", code=code)], tracker_of("csv", tmp_path / "csv"), ())
    runs = pd.read_csv(tmp_path / "csv/metrics.csv")["run"]
    assert list(dict.fromkeys(runs)) == ["mba-s0", "mba-s0-2"]


def test_figures_are_drawn_again_when_there_are_more_runs_only(record, tmp_path):
    tracker = tracker_of("csv", tmp_path / "csv")
    assert export([record], tracker, ["accuracy-vs-time", "scalability"]) == (2, 1)
    assert (tmp_path / "csv/figures/base/accuracy-vs-time.png").read_bytes().startswith(b"\x89PNG")
    assert export([record], tracker, ["accuracy-vs-time", "scalability"]) == (0, 0)
    assert export([record, write_run(tmp_path / "runs", "fedavg")], tracker, ["accuracy-vs-time"]) == (2, 1)


def test_a_tracker_that_fails_says_so_once_and_ends_no_run(record, tmp_path):
    said = []
    live = LiveTracking(tracker_of("csv", tmp_path / "csv"), {"mba": record.path}, said.append)
    (tmp_path / "csv").write_text("in the way")
    live.update("mba")
    live.update("mba")
    live.finish([record])
    assert len(said) == 1
    assert said[0].startswith("tracking ends, the run does not: ")


def test_unknown_and_missing_trackers_are_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(
        BadInputError, match=r"^--to: unknown tracker 'tensorbord'; trackers are tensorboard, wandb, .* did"
    ):
        tracker_of("tensorbord")
    monkeypatch.setattr("interlude.analysis.trackers.registry.find_spec", lambda _: None)
    with pytest.raises(BadInputError, match=r"--track mlflow: needs .*: pip install 'interlude\[mlflow\]'$"):
        tracker_of("mlflow", option="--track")
    assert not Path("tracked").exists()


def test_a_record_is_only_read(record, tmp_path):
    before = {path: path.read_bytes() for path in record.path.rglob("*") if path.is_file()}
    export([RunRecord(record.path)], tracker_of("csv", tmp_path / "csv"), ["staleness"])
    assert {path: path.read_bytes() for path in record.path.rglob("*") if path.is_file()} == before
