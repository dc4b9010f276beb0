"""The same bytes in another place are the same data: runs are reused, and seeds are joined."""

import shutil

import numpy as np
import pytest

from interlude import load_records, parse_scenario, run_scenario
from interlude.analysis.runs import by_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import short_names
from interlude.simulator.record.reader import with_other_seeds

MODULE = """
import interlude
import numpy as np


@interlude.dataset
def made():
    draw = np.random.default_rng(0)
    def split(n):
        return {"gray": draw.normal(size=(n, 3)), "color": draw.normal(size=(n, 3)), "label": np.arange(n) % 2}
    return split(40), split(10)
"""


def write_folder(path):
    draw = np.random.default_rng(0)
    path.mkdir(parents=True)
    for split, num in (("train", 40), ("test", 10)):
        arrays = {name: draw.normal(size=(num, 3)).astype(np.float32) for name in ("gray", "color")}
        np.savez(path / f"{split}.npz", label=np.arange(num) % 2, **arrays)
    parts = path / "AllocatedSubset/client-2-alpha-2"
    parts.mkdir(parents=True)
    for client in (0, 1):
        (parts / f"client-{client}.csv").write_text("\n".join(map(str, range(client, 40, 2))))
    (path / "delays.csv").write_text("delay_s\n1\n2\n")


def scenario_of(scenario_with, root, seed, **changes):
    partition = {"kind": "files", "path": str(root / "AllocatedSubset"), "alpha": 2.0}
    empirical = {"distribution": "empirical", "file": str(root / "delays.csv"), "column": "delay_s"}
    given = {
        "seed": seed,
        "data": {"dataset": "folder", "path": str(root), "partition": partition},
        "clients.count": 2,
        "world.arrival.gray.per_client": empirical,
        "until.simulated_s": 5,
        **changes,
    }
    return parse_scenario(scenario_with(given))


def test_data_traces_and_partitions_that_have_moved_are_the_same(scenario_with, tmp_path):
    """All of them by absolute paths, the worst case."""
    write_folder(tmp_path / "a/pat")
    runs = tmp_path / "runs"
    (first,) = run_scenario(scenario_of(scenario_with, tmp_path / "a/pat", 0), runs=runs, timing_only=True)
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = tmp_path / "b/pat"
    (again,) = run_scenario(scenario_of(scenario_with, moved, 0), runs=runs, timing_only=True)
    assert again.info == first.info  # reused
    (other,) = run_scenario(scenario_of(scenario_with, moved, 1), runs=runs, timing_only=True)
    assert [record.seed for record in with_other_seeds([other])] == [0, 1]
    assert len(by_scenario(load_records(runs))) == 1
    assert not any(str(tmp_path) in name for name in other.info["files"])


def test_other_bytes_in_the_same_place_are_other_data(scenario_with, tmp_path):
    write_folder(tmp_path / "pat")
    run_scenario(scenario_of(scenario_with, tmp_path / "pat", 0), runs=tmp_path / "runs", timing_only=True)
    (tmp_path / "pat/delays.csv").write_text("delay_s\n1\n3\n")
    with pytest.raises(BadInputError, match=r"delays\.csv was .*, and now is "):
        run_scenario(scenario_of(scenario_with, tmp_path / "pat", 0), runs=tmp_path / "runs", timing_only=True)
    (other,) = run_scenario(scenario_of(scenario_with, tmp_path / "pat", 1), runs=tmp_path / "runs", timing_only=True)
    assert [record.seed for record in with_other_seeds([other])] == [1]


def test_the_place_of_a_users_module_is_no_part_of_a_run(scenario_with, tmp_path, monkeypatch):
    infos = []
    for place in ("first", "zzz"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "moved_data.py").write_text(MODULE)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / place)
            patch.delitem(__import__("sys").modules, "moved_data", raising=False)
            given = {"data": {"dataset": "moved_data:made"}, "clients.count": 2, "until.simulated_s": 5}
            (record,) = run_scenario(parse_scenario(scenario_with(given)), runs=tmp_path / "runs", timing_only=True)
        infos.append(record.info)
    assert infos[0] == infos[1]
    assert list(infos[0]["files"]) == ["moved_data.py"]


def test_files_have_the_shortest_names_that_tell_them_apart(tmp_path):
    a, b, c = tmp_path / "x/one.csv", tmp_path / "y/one.csv", tmp_path / "y/two.csv"
    assert short_names([a, b, c, a]) == {"x/one.csv": a, "y/one.csv": b, "two.csv": c}
