"""A user's own data: both doors let the same arrays in, and name what is wrong with others in one sentence."""

import sys
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import interlude
from interlude import parse_scenario, run_scenario
from interlude.simulator.data import folder as folder_door
from interlude.simulator.data import function, own
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.function import FunctionSpec
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.errors import BadInputError
from interlude.simulator.run.build import files_of
from interlude.simulator.run.spec import RunSpec


def split(num_samples):
    """Return 3 classes; an image of bytes, a series of floats and a text of tokens, by a subject, with names."""
    draw = np.random.default_rng(num_samples)
    return {
        "sight": draw.integers(0, 256, size=(num_samples, 2, 4, 4), dtype=np.uint8),
        "motion": draw.normal(size=(num_samples, 5)).astype(np.float32),
        "words": draw.integers(0, 9, size=(num_samples, 6)),
        "label": np.arange(num_samples) % 3,
        "key_subject": np.array([["zoe", "ann"][i % 2] for i in range(num_samples)]),
        "name": np.array([f"clip-{i}" for i in range(num_samples)]),
    }


def write_npz(folder, train, test):
    np.savez(folder / "train.npz", **train)
    np.savez_compressed(folder / "test.npz", **test)


def write_parquet(folder, train, test):
    for name, arrays in (("train", train), ("test", test)):
        pq.write_table(pa.table({k: np.asarray(v).tolist() for k, v in arrays.items()}), folder / f"{name}.parquet")


def write_npy(folder, train, test):
    for name, arrays in (("train", train), ("test", test)):
        for key, values in arrays.items():
            np.save(folder / f"{name}_{key}.npy", values)


@pytest.fixture
def offer(monkeypatch):
    """Return a function that makes `own_data:make` return something, and reads it."""
    module = ModuleType("own_data")
    monkeypatch.setitem(sys.modules, "own_data", module)

    def read(returned, **more):
        @interlude.dataset
        def make(**options):
            return returned(**options) if callable(returned) else returned

        module.make = make
        return function.load(FunctionSpec(dataset="own_data:make", options={"of": 1}, **more))

    return read


def from_npz(folder, **options):
    return folder_door.load(folder_door.FolderSpec(path=folder, **options))


@pytest.mark.parametrize("layout", [write_npz, write_npy])
def test_a_folder_holds_what_was_written(tmp_path, layout):
    train, test = split(9), split(6)
    layout(tmp_path, train, test)
    dataset = from_npz(tmp_path)
    assert set(dataset.modalities) == {"sight", "motion", "words"}
    assert dataset.num_classes == 3
    for (inputs, labels), given in ((dataset.train, train), (dataset.test, test)):
        assert labels.tolist() == given["label"].tolist()
        for modality, x in inputs.items():
            assert np.array_equal(x.numpy(), given[modality])
    assert {m: x.dtype for m, x in dataset.train[0].items()} == {
        "sight": torch.uint8,
        "motion": torch.float32,
        "words": torch.int32,
    }
    assert dataset.inputs["words"].num_tokens == max(train["words"].max(), test["words"].max()) + 1
    channels = train["sight"].astype(float) / 255
    assert dataset.inputs["sight"].mean == pytest.approx(channels.mean(axis=(0, 2, 3)))
    assert dataset.inputs["sight"].std == pytest.approx(channels.std(axis=(0, 2, 3)))
    assert dataset.keys["subject"].tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert dataset.names[:2] == ("clip-0", "clip-1")


def test_parquet_columns_are_lists_or_lists_of_lists(tmp_path):
    train, test = split(9), split(6)
    write_parquet(
        tmp_path, *({k: v for k, v in s.items() if k != "sight"} | {"x": s["sight"] / 255} for s in (train, test))
    )
    dataset = from_npz(tmp_path)
    assert torch.allclose(dataset.train[0]["x"], torch.from_numpy(train["sight"] / 255).float())
    assert torch.allclose(dataset.test[0]["motion"], torch.from_numpy(test["motion"]))
    assert dataset.train[0]["words"].tolist() == train["words"].tolist()
    assert dataset.keys["subject"].tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert dataset.names[8] == "clip-8"


def test_single_arrays_stay_in_their_files(tmp_path):
    write_npy(tmp_path, split(9), split(6))
    dataset = from_npz(tmp_path)
    motion = dataset.train[0]["motion"]
    assert motion.untyped_storage().filename == str(tmp_path / "train_motion.npy")
    assert np.array_equal(motion.numpy(), split(9)["motion"])


def test_large_samples_are_looked_at_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "_CHUNK_VALUES", 200)  # of 9 images of 48 values each
    assert [len(chunk) for chunk in own._chunks(torch.zeros(9, 3, 4, 4))] == [4, 4, 1]
    test_a_folder_holds_what_was_written(tmp_path, write_npy)
    write_npy(tmp_path, {**split(9), "motion": np.where(FLOATS[7, 2] == FLOATS, np.nan, FLOATS)}, split(6))
    monkeypatch.setattr(own, "_CHUNK_VALUES", 1)
    with pytest.raises(BadInputError, match="'motion': sample 7 has"):
        from_npz(tmp_path)


def test_a_function_returns_arrays_or_a_data_set(offer):
    train, test = split(9), split(6)
    dataset = offer((train, test))
    assert dataset.modalities == ("sight", "motion", "words")
    assert [path.name for path in dataset.files] == ["test_own.py"]
    again = offer(dataset)
    assert again.modalities == dataset.modalities
    tensors = {m: torch.from_numpy(np.ascontiguousarray(x)) for m, x in split(9).items() if m in ("motion", "label")}
    assert offer((tensors, tensors)).train[0]["motion"] is tensors["motion"]


def changed(**changes):
    return lambda arrays: {k: v for k, v in {**arrays, **changes}.items() if v is not None}


FLOATS = split(9)["motion"]
FAULTS = {
    "no label": ("train", changed(label=None), "has no 'label'"),
    "fewer of one modality": ("train", changed(motion=FLOATS[:8]), "'motion' has 8 samples, but there are 9 labels"),
    "label too small": ("train", changed(label=np.arange(9) - 1), "integers from 0 on; that of sample 0 is -1"),
    "label not an integer": ("train", changed(label=np.arange(9) / 2), "'label' must be integers; it is float64"),
    "label of two axes": ("train", changed(label=np.zeros((9, 2), int)), "one number per sample"),
    "not finite": ("train", changed(motion=np.where(FLOATS[7, 2] == FLOATS, np.nan, FLOATS)), "'motion': sample 7 has"),
    "infinite in the test": ("test", changed(motion=np.full((6, 5), np.inf)), "'motion': sample 0 has values that are"),
    "too large for float32": ("train", changed(motion=np.full((9, 5), 1e300)), "'motion': sample 0 has values that"),
    "no samples": ("test", lambda arrays: {k: v[:0] for k, v in arrays.items()}, "has no samples"),
    "test lacks a modality": ("test", changed(motion=None), "has no modality 'motion', which"),
    "training lacks a modality": ("train", changed(motion=None), "has no modality 'motion', which"),
    "another shape in the test": (
        "test",
        changed(motion=np.zeros((6, 4))),
        r"shape is (4,), but in training it is (5,)",
    ),
    "another kind in the test": (
        "test",
        changed(motion=np.zeros((6, 5), int)),
        "is torch.int32, but must be torch.float32",
    ),
    "texts": ("train", changed(motion=np.array([["a"]] * 9)), "'motion' must be floats, bytes or integers"),
    "negative tokens": ("train", changed(words=np.full((9, 6), -3)), "'words': token numbers must be from 0"),
    "pixels in wide integers": ("both", changed(sight=split(9)["sight"].astype(np.int64)), "(uint8)"),
    "no axis but samples": ("train", changed(motion=np.zeros(9)), "'motion' must be [samples, ...]"),
    "a name that is taken": ("both", changed(fused=np.zeros((9, 1))), "'fused' cannot be a modality's name"),
    "a name with a dot": ("both", changed(**{"a.b": np.zeros((9, 1))}), "'a.b' cannot be a modality's name"),
    "keys of another length": ("train", changed(key_subject=np.arange(4)), "'key_subject' has 4 samples"),
    "keys of floats": ("train", changed(key_subject=np.zeros(9)), "'key_subject' must have one integer or text"),
    "names of another length": ("train", changed(name=np.array(["a"])), "'name' has 1 samples"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_at_both_doors(fault, offer, tmp_path):
    which, change, said = FAULTS[fault]
    train, test = split(9), split(9 if which == "both" else 6)
    train = change(train) if which in ("train", "both") else train
    test = change(test) if which in ("test", "both") else test
    write_npz(tmp_path, train, test)
    blamed = {"no samples": "test", "training lacks a modality": "train"}.get(fault, which).replace("both", "train")
    for read, place in (
        (lambda: from_npz(tmp_path), f"{blamed}.npz"),
        (lambda: offer((train, test)), f"make', {blamed}"),
    ):
        with pytest.raises(BadInputError) as caught:
            read()
        assert said in str(caught.value)
        assert place in str(caught.value)
        assert "\n" not in str(caught.value)


def test_labels_above_a_given_number_of_classes_are_refused(tmp_path, offer):
    write_npz(tmp_path, split(9), split(6))
    assert from_npz(tmp_path, num_classes=7).num_classes == 7
    with pytest.raises(BadInputError, match=r"train.npz: 'label' must be integers from 0 to 1; that of sample 2 is 2"):
        from_npz(tmp_path, num_classes=2)
    with pytest.raises(BadInputError, match="from 0 to 1; that of sample 2 is 2"):
        offer((split(9), split(6)), num_classes=2)


def test_a_data_set_that_lies_about_its_classes_is_refused(offer):
    samples = ({"x": torch.zeros(3, 2)}, torch.tensor([0, 1, 2]))
    with pytest.raises(BadInputError, match="make', train: 'label' must be integers from 0 to 1"):
        offer(Dataset(train=samples, test=samples, num_classes=2))
    with pytest.raises(BadInputError, match="make', test: 'x': sample 1 has values that are not finite"):
        offer(
            Dataset(
                train=samples,
                test=({"x": torch.tensor([[0.0, 0.0], [0.0, torch.nan]])}, torch.tensor([0, 1])),
                num_classes=3,
            )
        )


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([[1.0], [1.0, 2.0]], "'x' has lists of 1 and of 2"),
        ([[1.0], None], "'x' has 1 empty cells"),
        ([[1.0], [None]], "'x' has 1 empty cells"),
        ([True, False], "'x' must be numbers, texts or lists of numbers; it is bool"),
    ],
)
def test_columns_that_are_no_arrays_are_refused(tmp_path, column, said):
    for name in ("train", "test"):
        pq.write_table(pa.table({"x": column, "label": [0, 1]}), tmp_path / f"{name}.parquet")
    with pytest.raises(BadInputError, match=said):
        from_npz(tmp_path)


def test_damaged_files_and_missing_folders_are_named(tmp_path):
    with pytest.raises(BadInputError, match=r"nowhere: does not exist \(data.path\)"):
        from_npz(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match=r"has neither train.npz nor train.parquet nor train_<name>.npy"):
        from_npz(tmp_path)
    write_npz(tmp_path, split(9), split(6))
    whole = (tmp_path / "train.npz").read_bytes()
    (tmp_path / "train.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInputError, match=r"train.npz: is damaged"):
        from_npz(tmp_path)
    np.savez(tmp_path / "train.npz", label=np.arange(9), motion=np.array([{}] * 9))
    with pytest.raises(BadInputError, match=r"train.npz: 'motion': holds Python objects, which are not read"):
        from_npz(tmp_path)
    (tmp_path / "train.npz").unlink()
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInputError, match=r"train.parquet: is damaged"):
        from_npz(tmp_path)


def test_a_function_that_takes_a_seed_gets_the_runs_unless_an_option_pins_it(tmp_path, monkeypatch):
    (tmp_path / "seeded_data.py").write_text(
        "import interlude\n@interlude.dataset\ndef make(seed=3):\n"
        "    return {'x': [[float(seed)], [0.0]], 'label': [0, 1]}, {'x': [[0.0]], 'label': [0]}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def seen(run_seed, **options):
        data = load_dataset(FunctionSpec(dataset="seeded_data:make", options=options), run_seed)
        return data.train[0]["x"][0].item()

    assert (seen(0), seen(1), seen(1, seed=2)) == (0.0, 1.0, 2.0)


def test_a_function_that_is_missing_fails_or_returns_something_else_is_named(offer):
    def fails(of):
        raise KeyError("nothing\nthere")

    with pytest.raises(BadInputError, match=r"raise KeyError\(.*\)': KeyError: 'nothing\\nthere' \(in .*own_data:make"):
        offer(fails)
    with pytest.raises(BadInputError, match=r"must return a Dataset, or a pair of mappings .* returned a list"):
        offer([1, 2, 3])
    with pytest.raises(BadInputError, match=r"TypeError: .*unexpected keywor"):
        offer(lambda: None)
    for name in ("own_data:other", "no_such_module:make", ":", "os:sep", "os:getcwd"):
        with pytest.raises(BadInputError, match=f"data.dataset: '{name}'"):
            load_dataset(FunctionSpec(dataset=name), seed=0)


@pytest.mark.parametrize("text", ["def make(: pass", "nowhere()"])
def test_a_module_that_cannot_be_imported_is_one_sentence(text, tmp_path, monkeypatch):
    (tmp_path / "broken_data.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInputError, match=r"broken_data.py, line 1, '.*': .*\(in the import of 'broken_data:make'\)"):
        load_dataset(FunctionSpec(dataset="broken_data:make"), seed=0)


def test_another_version_of_a_file_is_another_run_and_is_read_again(tmp_path, scenario_with):
    write_npz(tmp_path, *(changed(words=None)(split(n)) for n in (12, 6)))
    arrival = {"per_client": {"distribution": "constant", "value_s": 1.0}}
    given = scenario_with(
        {
            "data": {"dataset": "folder", "path": str(tmp_path), "partition": {"kind": "natural", "key": "subject"}},
            "clients.count": 2,
            "model.encoder": {"sight": "mlp", "motion": "mlp"},
            "world.arrival": {"sight": arrival, "motion": arrival},
            "until": {"versions": 2},
        }
    )
    (record,) = run_scenario(parse_scenario(given), runs=tmp_path / "runs", device="cpu", workers=1)
    assert record.metrics["value"].notna().all()
    assert record.partition.groupby("client")["count"].sum().tolist() == [6, 6]
    scenario = parse_scenario(given)
    run = RunSpec(scenario.for_run(scenario.methods[0], 0), tmp_path, torch.device("cpu"), False)
    files = files_of(scenario, load_dataset(scenario.data, scenario.seed))
    before = run.identity(files)["files"]
    write_npz(tmp_path, *(changed(words=None)(split(n)) for n in (15, 6)))
    assert len(load_dataset(scenario.data, scenario.seed).train[1]) == 15
    after = run.identity(files)["files"]
    assert [path for path in before if before[path] != after[path]] == ["train.npz"]
