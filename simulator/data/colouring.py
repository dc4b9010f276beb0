"""The colouring protocol of coloured MNIST: colour tells the label in training and nothing in the test.

Kim et al., "Learning Not to Learn", CVPR 2019; paired with the untouched gray image as in CG-MNIST. In training the
digit's class has a mean colour; in the test the mean colour is drawn independently of the class. Around the mean,
normal noise of the given variance, clipped to [0, 1]; the background stays black.

The test's correlation is a dial of ours: with that probability a test image has its digit's mean colour after all.

Reconstruction: the mean colours of the published files are not known; two palettes stand in for them, Biased-MNIST's
and a drawn one, and those between the two. Clipping and rounding are ours too.
"""

import numpy as np
from pydantic import Field

from interlude.simulator.arrays import Floats, Indices
from interlude.simulator.data.idx import Bytes
from interlude.simulator.data.spec import DrawnSpec

_CHUNK_IMAGES = 1 << 10  # floating-point copies are eight times as large as the images

PALETTE = (
    np.array(
        [
            (255, 0, 0),
            (0, 255, 0),
            (0, 0, 255),
            (225, 225, 0),
            (225, 0, 225),
            (0, 255, 255),
            (255, 128, 0),
            (255, 0, 128),
            (128, 0, 255),
            (128, 128, 128),
        ]
    )
    / 255.0
)
"""[10, 3] mean colours in [0, 1]."""

DRAWN_PALETTE = (
    np.array(
        [
            (217, 163, 130),
            (69, 78, 10),
            (19, 4, 44),
            (208, 166, 233),
            (128, 155, 248),
            (186, 161, 139),
            (143, 239, 71),
            (208, 171, 0),
            (100, 219, 141),
            (8, 195, 186),
        ]
    )
    / 255.0
)
"""[10, 3] mean colours in [0, 1], drawn uniformly by NumPy's `default_rng(0)`.

They are harder to tell apart than Biased-MNIST's, and mislead about as much as the published ones do (docs/data.md).
"""

PALETTES = {"biased-mnist": PALETTE, "drawn": DRAWN_PALETTE}

_NEAREST = [7, 0, 2, 4, 8, 9, 3, 6, 1, 5]
"""Biased-MNIST's colours in the order of the drawn ones: the pairs with the least sum of squared distances."""


class ColouredSpec(DrawnSpec):
    """Options of coloured digits."""

    colour_variance: float = Field(0.03, ge=0, description="variance of the noise around each mean colour")
    test_correlation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how often a test image has its digit's colour, else any: 0, colour says nothing in the test; "
        "1, as much as in training",
    )

    def test_colours(self, labels: Indices, num_colours: int) -> Indices:
        """Return the mean colour of each test image [N]: its digit's with probability `test_correlation`, else any.

        A lower correlation takes their digit's colour from some images and leaves the others as they are.
        """
        independent = self.stream("test-colour").generator().integers(num_colours, size=len(labels))
        follows = self.stream("test-correlation").generator().random(len(labels)) < self.test_correlation
        return np.where(follows, labels, independent)


def between(share: float) -> Floats:
    """Return ten mean colours [10, 3] on the way from the drawn ones (share 0) to Biased-MNIST's (1).

    Each drawn colour moves to one of Biased-MNIST's on a straight line, such that the ways are short: pairs by number
    would cross, and be hardest to tell apart half-way. At 1 the colours are Biased-MNIST's, of other digits.
    """
    return (1.0 - share) * DRAWN_PALETTE + share * PALETTE[_NEAREST]


def drawn_colours(
    colour_classes: Indices, variance: float, generator: np.random.Generator, palette: Floats = PALETTE
) -> Floats:
    """Return each image's colour [N, 3] in [0, 1]: its mean colour and noise, clipped.

    Args:
        colour_classes: [N] index of each image's mean colour.
        variance: variance of the normal noise around the mean colour, per channel.
        generator: draws the noise.
        palette: [K, 3] mean colours in [0, 1].
    """
    noise = generator.normal(0.0, np.sqrt(variance), size=(len(colour_classes), 3))
    colours: Floats = np.clip(palette[colour_classes] + noise, 0.0, 1.0)
    return colours


def colour(gray: Floats, colour_classes: Indices, variance: float, generator: np.random.Generator) -> Floats:
    """Return coloured images, rounded to 8 bits.

    Args:
        gray: [N, H, W] images in [0, 1].
        colour_classes: [N] index of each image's mean colour.
        variance: variance of the normal noise around the mean colour, per channel.
        generator: draws the noise.

    Returns:
        [N, 3, H, W] in [0, 1].
    """
    colours = drawn_colours(colour_classes, variance, generator)
    return np.round(255.0 * gray[:, None] * colours[:, :, None, None]) / 255.0


def paint(gray: Bytes, colours: Floats) -> Bytes:
    """Return images [N, 3, H, W] in bytes: gray images [N, H, W] in bytes, in colours [N, 3] in [0, 1]."""
    painted = np.empty((len(gray), 3, *gray.shape[1:]), dtype=np.uint8)
    for start in range(0, len(gray), _CHUNK_IMAGES):
        chunk = slice(start, start + _CHUNK_IMAGES)
        painted[chunk] = np.rint(gray[chunk, None] * colours[chunk, :, None, None])
    return painted
