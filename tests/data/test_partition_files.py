"""Partitions in the papers' AllocatedSubset layout: every format, and one sentence for every fault."""

import pytest
import torch

from interlude import parse_scenario
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.data.partition import FilesPartition, partition
from interlude.simulator.errors import BadInputError
from interlude.simulator.run.build import files_of
from interlude.simulator.run.spec import RunSpec

# what a line may look like, and the names of the samples that it speaks of
FORMATS = {
    "index": ([f"{i}" for i in range(4)], None, "txt"),
    "quoted": ([f'"100{i}_DFA_ANG_XX ANG"' for i in range(4)], [f"100{i}_DFA_ANG_XX" for i in range(4)], "csv"),
    "slash": ([f"-x{i}y/Church bell" for i in range(4)], [f"-x{i}y" for i in range(4)], "txt"),
    "tab": (
        [f"tv/train/tv_{i}.obj_v001.png\t7" for i in range(4)],
        [f"tv/train/tv_{i}.obj_v001.png" for i in range(4)],
        "txt",
    ),
    "name": (list("abcd"), list("abcd"), "csv"),
    "repeated": (["a", "b", "a", "b"], ["a", "a", "b", "b"], "csv"),
}


def dataset(names=None, num_samples=4):
    samples = ({"x": torch.zeros(num_samples, 1)}, torch.zeros(num_samples, dtype=torch.long))
    return Dataset(train=samples, test=samples, num_classes=1, names=None if names is None else tuple(names))


def write(folder, alpha, *clients, first=0, suffix="txt"):
    inner = folder / f"client-{len(clients)}-alpha-{alpha}"
    inner.mkdir(parents=True)
    for client, lines in enumerate(clients, start=first):
        (inner / f"client-{client}.{suffix}").write_text("".join(f"{line}\n" for line in lines))
    return inner


def read(folder, num_clients=2, names=None, alpha=2.0, partial=False):
    spec = FilesPartition(kind="files", path=folder, alpha=alpha, partial=partial)
    return [shard.tolist() for shard in partition(spec, dataset(names), num_clients, 0)]


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize("first", [0, 1])
def test_every_format_is_read(tmp_path, style, first):
    lines, names, suffix = FORMATS[style]
    write(tmp_path, 2, [lines[3], "", lines[0]], [lines[1], lines[2]], first=first, suffix=suffix)
    # the clients' lines read b, a and b, a where names are a, a, b, b: each stands for its samples in turn
    expected = [[0, 2], [1, 3]] if style == "repeated" else [[0, 3], [1, 2]]
    assert read(tmp_path, names=names) == expected


@pytest.mark.parametrize(("alpha", "written"), [(1e8, "100000000"), (3.0, "3"), (0.5, "0.5")])
def test_alpha_from_one_on_is_written_as_an_integer(tmp_path, alpha, written):
    write(tmp_path, written, [0, 1], [2, 3])
    assert read(tmp_path, alpha=alpha) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([0, 1], [2, 4], r"client-1.txt, line 2: '4' is not a sample of the training set, which has 4"),
        ([0, 1], [2, "x"], r"client-1.txt, line 2: 'x' is not a sample"),
        ([0, 1], [2, "-1"], r"client-1.txt, line 2: '-1' is not a sample"),
        ([0, 1], [2, 3, 0], r"client-1.txt, line 3: '0' is given twice; it stands at .*client-0.txt, line 1, too"),
        ([0, 1], [3], r"1 of 4 training samples, first 2, are no client's; set data.partition.partial"),
        ([0, 1], [], r"client-1.txt: gives its client no sample"),
    ],
)
def test_a_wrong_entry_is_named_by_file_and_line(tmp_path, first, second, said):
    write(tmp_path, 2, first, second)
    with pytest.raises(BadInputError, match=said) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_partial_partition_leaves_out_what_is_unknown_and_what_is_unnamed(tmp_path):
    write(tmp_path, 2, ["a", "gone"], ["c"])
    assert read(tmp_path, names="abcd", partial=True) == [[0], [2]]


def test_a_missing_folder_or_file_is_named(tmp_path):
    inner = write(tmp_path, 2, [0, 1], [2, 3])
    with pytest.raises(BadInputError, match=r"client-3-alpha-2: is missing"):
        read(tmp_path, num_clients=3)
    (inner / "client-1.txt").unlink()
    with pytest.raises(BadInputError, match=r"client-1.csv: is missing, and so is client-1.txt"):
        read(tmp_path)


def test_a_relative_folder_is_below_the_data_directory_or_where_the_command_runs(tmp_path, monkeypatch):
    write(tmp_path / "set/AllocatedSubset", 2, [0, 1], [2, 3])
    monkeypatch.delenv("INTERLUDE_DATA", raising=False)
    with pytest.raises(BadInputError, match="--data-dir"):
        read("set/AllocatedSubset")
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path))
    assert read("set/AllocatedSubset") == [[0, 1], [2, 3]]
    monkeypatch.setenv("INTERLUDE_DATA", str(tmp_path / "set"))
    with pytest.raises(BadInputError, match="set/set/AllocatedSubset"):
        read("set/AllocatedSubset")
    monkeypatch.chdir(tmp_path)
    assert read("set/AllocatedSubset") == [[0, 1], [2, 3]]


def test_another_version_of_a_file_is_another_run(tmp_path, scenario_with):
    inner = write(tmp_path, 2, range(700), range(700, 1347))
    spec = {"kind": "files", "path": str(tmp_path), "alpha": 2}
    scenario = parse_scenario(scenario_with({"data.partition": spec, "clients.count": 2}))
    run = RunSpec(scenario.for_run(scenario.methods[0], 0), tmp_path, torch.device("cpu"), timing_only=True)
    files = files_of(scenario, load_dataset(scenario.data, scenario.seed))
    before = run.identity(files)["files"]
    (inner / "client-0.txt").write_text("0\n")
    after = run.identity(files)["files"]
    assert [path for path in before if before[path] != after[path]] == ["client-0.txt"]
