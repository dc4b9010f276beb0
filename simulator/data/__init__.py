"""What is learned from: data sets of named modalities, and how clients share them.

To add a data set: write its file with a spec (options) and a loader, and name both here.
"""

from functools import lru_cache
from pathlib import Path

from simulator.data import ave, cg_digits, cg_mnist, crema_d, crisismmd, folder, function, modelnet40, uci_har
from simulator.data.dataset import Dataset
from simulator.data.directory import data_directory
from simulator.data.source import Source
from simulator.data.spec import DataSpec

DATASETS: dict[str, Source] = {
    "cg-digits": Source(
        options=cg_digits.CgDigitsSpec,
        load=cg_digits.load,
        about="1,797 real handwritten digits (inside scikit-learn), gray + color; colour misleads in the test",
        origin="comes with scikit-learn (UCI Optical Recognition of Handwritten Digits)",
        licence="CC BY 4.0",
    ),
    "cg-mnist": Source(
        options=cg_mnist.CgMnistSpec,
        load=cg_mnist.load,
        about="MNIST's 60,000 + 10,000 digits, gray + color; colour misleads in the test",
        origin="mirrors of yann.lecun.com/exdb/mnist, four files, in mnist/",
        licence="CC BY-SA 3.0",
        layouts=cg_mnist.LAYOUTS,
    ),
    "uci-har": Source(
        options=uci_har.UciHarSpec,
        load=uci_har.load,
        about="six activities of 30 people by accelerometer + gyroscope of a phone, windows of 2.56 s; key: subject",
        origin="UCI repository, data sets 341 (HAPT, raw signals) or 240 (UCI-HAR, windows), in ucihar/",
        licence="free with citation, not for commercial use",
        layouts=uci_har.LAYOUTS,
    ),
    "crema-d": Source(
        options=crema_d.CremaDSpec,
        load=crema_d.load,
        about="7,442 clips of 91 actors in six emotions, audio + video; key: speaker",
        origin="github.com/CheyneyComputerScience/CREMA-D, in crema-d/",
        licence="Open Database License (ODbL 1.0)",
        layouts=crema_d.LAYOUTS,
        preparation=crema_d.preparation,
    ),
    "ave": Source(
        options=ave.AveSpec,
        load=ave.load,
        about="4,143 audio-visual events of 28 classes in videos of 10 s, audio + video",
        origin="github.com/YapengTian/AVE-ECCV18, AVE_Dataset.zip, its content in ave/",
        licence="see origin (videos of YouTube users, by way of AudioSet)",
        layouts=ave.LAYOUTS,
        preparation=ave.preparation,
    ),
    crisismmd.NAME: Source(
        options=crisismmd.CrisisMmdSpec,
        load=crisismmd.load,
        about="12,708 tweets of seven disasters, text + image: informative or not (CrisisMMD v2.0, task 1)",
        origin="https://crisisnlp.qcri.org/crisismmd",
        licence="CC BY-NC-SA 4.0; tweets under Twitter's terms",
        layouts=(crisismmd.LAYOUT,),
        preparation=crisismmd.prepare,
    ),
    modelnet40.NAME: Source(
        options=modelnet40.ModelNet40Spec,
        load=modelnet40.load,
        about="12,311 objects of 40 classes, front + back view (ModelNet40, MVCNN's shaded renderings)",
        origin="MVCNN: supermoe.cs.umass.edu/shape_recog/shaded_images.tar.gz",
        licence="models for academic use only (Princeton ModelNet)",
        layouts=(modelnet40.LAYOUT,),
        preparation=modelnet40.prepare,
    ),
}


OWN: dict[str, Source] = {
    "folder": Source(
        options=folder.FolderSpec,
        load=folder.load,
        about="your own: data.path names a folder with train and test as .npz, .parquet or train_<name>.npy",
        origin="yours",
        licence="yours",
    ),
    "package.module:function": Source(
        options=function.FunctionSpec,
        load=function.load,
        about="your own: a function that returns a Dataset, or (train, test) as mappings of names to arrays",
        origin="yours",
        licence="yours",
    ),
}
"""The doors for a user's own data; the second one's name is a pattern."""


def find_source(name: str) -> Source | None:
    """Return the data set of a name, or one of a user's own; None if there is none."""
    return DATASETS.get(name) or OWN.get("package.module:function" if ":" in name else name)


def load_dataset(spec: DataSpec) -> Dataset:
    """Return the data set that a scenario names; loading is pure, so the methods of a scenario share one copy.

    Raises:
        BadInputError: if a file is missing or damaged; it names the path and what was expected.
    """
    dataset, states = _load(spec, data_directory())
    if states != _states(dataset):  # a file has changed since
        _load.cache_clear()
        dataset, _ = _load(spec, data_directory())
    return dataset


@lru_cache(maxsize=2)
def _load(spec: DataSpec, _directory: Path | None) -> tuple[Dataset, tuple[tuple[int, int], ...]]:
    source = find_source(spec.dataset)
    assert source is not None, spec.dataset
    dataset = source.load(spec)
    return dataset, _states(dataset)


def _states(dataset: Dataset) -> tuple[tuple[int, int], ...]:
    """Return size and time of every file that makes the data set what it is; zeros for one that is gone."""
    found = [path.stat() if path.exists() else None for path in dataset.files]
    return tuple((0, 0) if state is None else (state.st_size, state.st_mtime_ns) for state in found)
