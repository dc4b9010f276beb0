"""What is learned from: data sets of named modalities, and how clients share them.

To add a data set: write its file with a spec (options) and a loader, and name both here.
"""

from functools import lru_cache
from pathlib import Path

from simulator.data import cg_digits, crisismmd, modelnet40
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


def load_dataset(spec: DataSpec) -> Dataset:
    """Return the data set that a scenario names; loading is pure, so the methods of a scenario share one copy.

    Raises:
        BadInputError: if a file is missing or damaged; it names the path and what was expected.
    """
    return _load(spec, data_directory())


@lru_cache(maxsize=2)
def _load(spec: DataSpec, _directory: Path | None) -> Dataset:
    return DATASETS[spec.dataset].load(spec)
