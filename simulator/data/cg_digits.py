"""cg-digits: scikit-learn's 1,797 handwritten digits, gray + color (8 x 8); colour misleads in the test.

Real data without a download: the images come inside scikit-learn (UCI "Optical Recognition of Handwritten Digits",
CC BY 4.0). Colour follows the protocol of `interlude.simulator.data.colouring`: easy and misleading, so colour
dominates training and gray is the weak modality to be rescued.
"""

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from interlude.simulator.data.colouring import PALETTE, ColouredSpec, colour
from interlude.simulator.data.dataset import Dataset, standardised
from interlude.simulator.data.source import Source

_GRAY_LEVELS = 16.0
_SPLIT_SEEDS = 2**32  # scikit-learn takes no larger ones


class CgDigitsSpec(ColouredSpec):
    """Options of cg-digits."""

    dataset: Literal["cg-digits"] = "cg-digits"
    test_fraction: float = Field(0.25, ge=0.01, le=0.99, description="share of the digits kept for the test")


def load(spec: CgDigitsSpec) -> Dataset:
    """Return the data set: ``gray`` [N, 1, 8, 8] and ``color`` [N, 3, 8, 8], standardised per channel."""
    from sklearn.datasets import load_digits  # half a second of every command, needed here only
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    gray = images.reshape(-1, 8, 8) / _GRAY_LEVELS
    index_train, index_test = train_test_split(
        np.arange(len(labels)),
        test_size=spec.test_fraction,
        stratify=labels,
        random_state=spec.drawn_seed % _SPLIT_SEEDS,
    )
    index_train, index_test = np.sort(index_train), np.sort(index_test)
    noise = spec.stream("noise").generator()
    color_train = colour(gray[index_train], labels[index_train], spec.colour_variance, noise)
    test_colours = spec.test_colours(labels[index_test], len(PALETTE))
    color_test = colour(gray[index_test], test_colours, spec.colour_variance, noise)

    def tensor(values: np.typing.NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32))

    gray_pair = standardised(tensor(gray[index_train, None]), tensor(gray[index_test, None]))
    color_pair = standardised(tensor(color_train), tensor(color_test))
    return Dataset(
        train=({"gray": gray_pair[0], "color": color_pair[0]}, torch.from_numpy(labels[index_train])),
        test=({"gray": gray_pair[1], "color": color_pair[1]}, torch.from_numpy(labels[index_test])),
        num_classes=len(PALETTE),
    )


SOURCE = Source(
    options=CgDigitsSpec,
    load=load,
    origin="comes with scikit-learn (UCI Optical Recognition of Handwritten Digits)",
    licence="CC BY 4.0",
)
