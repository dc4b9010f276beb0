"""The colouring protocol of coloured MNIST: colour tells the label in training and nothing in the test.

Kim et al., "Learning Not to Learn", CVPR 2019; paired with the untouched gray image as in CG-MNIST. In training the
digit's class has a mean colour; in the test the mean colour is drawn independently of the class. Around the mean,
normal noise of the given variance, clipped to [0, 1]; the background stays black.

Reconstruction: the mean colours of the published files are not known; these are the ten colours of Biased-MNIST.
Clipping and rounding are ours too.
"""

import numpy as np

from simulator.arrays import Floats, Indices

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
    noise = generator.normal(0.0, np.sqrt(variance), size=(len(gray), 3))
    colours = np.clip(PALETTE[colour_classes] + noise, 0.0, 1.0)
    return np.round(255.0 * gray[:, None] * colours[:, :, None, None]) / 255.0
