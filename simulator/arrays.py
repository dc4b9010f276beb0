"""Types of the arrays that packages pass to each other."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

Samples = tuple[Mapping[str, Tensor], Tensor]
"""Inputs [N, *shape] of each modality and labels [N]."""
