"""What is learned from: data sets of named modalities, and how clients share them.

To add a data set: write its file with a spec (options) and a loader, and name both here.
"""

from functools import lru_cache
from pathlib import Path

from simulator.data import cg_digits, cg_mnist, uci_har
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
}


def load_dataset(spec: DataSpec) -> Dataset:
    """Return the data set that a scenario names; loading is pure, so the methods of a scenario share one copy.

    Raises:
        BadInputError: if a file is missing or damaged; it names the path and what was expected.
    """
    return _load(spec, data_directory())


@lru_cache(maxsize=2)
def _load(spec: DataSpec, _directory: Path | None) -> Dataset:
    return DATASETS[spec.dataset].load(spec)
