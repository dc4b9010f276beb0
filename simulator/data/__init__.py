"""What is learned from: data sets of named modalities, and how clients share them.

To add a data set: write its file with a spec (options) and a loader, and name both here.
"""

from functools import lru_cache
from pathlib import Path

from simulator.data import ave, cg_digits, crema_d
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
