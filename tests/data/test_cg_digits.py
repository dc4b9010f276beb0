"""cg-digits: real digits untouched, a colour that tells the class in training and nothing in the test."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from interlude.models.inputs import InputSpec
from interlude.simulator.data.cg_digits import CgDigitsSpec, load
from interlude.simulator.data.colouring import PALETTE, colour
from interlude.simulator.data.dataset import Dataset, standardised
from interlude.simulator.data.loading import load_dataset


@pytest.fixture(scope="module")
def digits():
    return load(CgDigitsSpec(seed=0))


def unscaled(values):
    """Undo standardisation per channel, given that every channel's extremes were 0 and 1."""
    low, high = (extreme(values, dim=(0, 2, 3), keepdim=True) for extreme in (torch.amin, torch.amax))
    return ((values - low) / (high - low)).numpy()


def brightest(images):
    """Return the colour [N, 3] of each image's brightest pixels, where gray is 1."""
    return images.max(axis=(2, 3))


def test_sizes_are_those_of_the_split(digits):
    # a quarter of 1797 for the test, rounded up: 450
    for (inputs, labels), count in ((digits.train, 1347), (digits.test, 450)):
        assert inputs["gray"].shape == (count, 1, 8, 8)
        assert inputs["color"].shape == (count, 3, 8, 8)
        assert inputs["gray"].dtype == inputs["color"].dtype == torch.float32
        assert labels.shape == (count,)
        assert labels.unique().tolist() == list(range(10))
    assert digits.num_classes == 10
    assert digits.modalities == ("gray", "color")
    assert {m: given.shape for m, given in digits.inputs.items()} == {"gray": (1, 8, 8), "color": (3, 8, 8)}


def test_gray_images_are_the_originals_with_their_labels_in_their_order(digits):
    def kept(samples):
        inputs, labels = samples
        return list(zip(np.rint(16 * unscaled(inputs["gray"])).reshape(-1, 64), labels.tolist(), strict=True))

    queues = [kept(digits.train)[::-1], kept(digits.test)[::-1]]
    for image, label in zip(*load_digits(return_X_y=True), strict=True):
        # every original is the next image of one of the two sets
        (queue,) = [q for q in queues if q and q[-1][1] == label and np.array_equal(q[-1][0], image)]
        queue.pop()
    assert queues == [[], []]


def test_both_modalities_show_the_same_digit(digits):
    for inputs, _ in (digits.train, digits.test):
        gray, color = unscaled(inputs["gray"])[:, 0], unscaled(inputs["color"])
        assert (color[gray[:, None].repeat(3, axis=1) == 0.0] == 0.0).all()  # the background stays black


def test_inputs_are_standardised_on_the_training_set(digits):
    for x in digits.train[0].values():
        assert x.mean(dim=(0, 2, 3)).abs().max() < 1e-4
        assert x.std(dim=(0, 2, 3)).numpy() == pytest.approx(1.0, abs=1e-4)


def test_standardising_uses_the_training_sets_mean_and_deviation_for_the_test():
    # channel values 0 and 2: mean 1, sample deviation sqrt 2; a test value of 3 becomes 2 / sqrt 2
    train, test = standardised(torch.tensor([[[0.0]], [[2.0]]]), torch.tensor([[[3.0]]]))
    assert train.flatten().tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert test.item() == pytest.approx(2**0.5)


class Noise:
    """A generator that returns the noise it was given, and remembers its scale."""

    def __init__(self, noise):
        self.noise = np.array(noise)

    def normal(self, mean, scale, size):
        assert mean == 0.0
        assert size == self.noise.shape
        self.scale = scale
        return self.noise


def test_colouring_pixel_by_pixel():
    gray = np.array([[[0.0, 0.5], [1.0, 0.25]]])
    coloured = colour(gray, np.array([6]), 0.04, Noise([[0.0, 0.0, 0.0]]))
    # class 6 is (255, 128, 0): red 255 x 0.5 = 127.5 -> 128 (to even), 255 x 0.25 = 63.75 -> 64; green 64, 128, 32
    expected = [[[0, 128], [255, 64]], [[0, 64], [128, 32]], [[0, 0], [0, 0]]]
    assert np.allclose(255 * coloured[0], expected, atol=1e-9)


def test_noise_moves_an_images_colour_and_is_clipped():
    noise = Noise([[-0.2, 0.1, -0.3], [0.5, 0.07, 0.02]])
    coloured = colour(np.ones((2, 1, 1)), np.array([0, 0]), 0.04, noise)
    # class 0 is (1, 0, 0): (0.8, 0.1, 0) -> 204, 25.5 -> 26 (to even), 0; (1, 0.07, 0.02) -> 255, 17.85, 5.1
    assert np.allclose(255 * coloured[:, :, 0, 0], [[204, 26, 0], [255, 18, 5]], atol=1e-9)
    assert noise.scale == pytest.approx(0.2)  # variance 0.04


def test_without_noise_training_colour_is_the_classs_colour_in_every_pixel():
    digits = load(CgDigitsSpec(seed=0, colour_variance=0.0))
    inputs, labels = digits.train
    gray, color = unscaled(inputs["gray"]), unscaled(inputs["color"])
    expected = np.rint(255 * gray * PALETTE[labels.numpy()][:, :, None, None]) / 255
    # a product that falls between two levels may round either way in single precision
    assert np.abs(color - expected).max() < 1.01 / 255
    assert (np.abs(color - expected) > 0.1 / 255).mean() < 0.01


def test_training_colour_lies_around_the_class_palette(digits):
    inputs, labels = digits.train
    colours = brightest(unscaled(inputs["color"]))
    for digit in range(10):
        # noise of deviation 0.17; clipping at 0 or 1 moves a mean by 0.17 / sqrt(2 pi) = 0.07
        assert colours[labels.numpy() == digit].mean(axis=0) == pytest.approx(PALETTE[digit], abs=0.12)


def accuracy_by_colour(samples):
    inputs, labels = samples
    colours = brightest(unscaled(inputs["color"]))
    nearest = ((colours[:, None] - PALETTE) ** 2).sum(axis=2).argmin(axis=1)
    return (nearest == labels.numpy()).mean()


def test_colour_tells_the_class_in_training_and_nothing_in_the_test(digits):
    assert accuracy_by_colour(digits.train) > 0.7
    assert accuracy_by_colour(digits.test) == pytest.approx(0.1, abs=0.05)  # chance, deviation 0.014


def test_colour_tells_as_much_in_the_test_as_in_training_at_correlation_1():
    correlated = load(CgDigitsSpec(seed=0, test_correlation=1.0, colour_variance=0.0))
    assert accuracy_by_colour(correlated.train) == accuracy_by_colour(correlated.test) == 1.0


def test_the_correlation_is_the_share_of_digits_whose_colour_is_theirs_and_leaves_the_others_alone():
    labels = np.arange(20_000) % 10
    colours = {c: CgDigitsSpec(seed=0, test_correlation=c).test_colours(labels, 10) for c in (0.0, 0.3, 0.6)}
    for correlation, drawn in colours.items():
        # of those that are drawn a tenth is right by chance
        right = correlation + (1 - correlation) / 10
        assert (drawn == labels).mean() == pytest.approx(right, abs=4 * math.sqrt(right * (1 - right) / 20_000))
    for lower, higher in ((0.0, 0.3), (0.3, 0.6)):
        changed = colours[lower] != colours[higher]
        assert (colours[higher][changed] == labels[changed]).all()


def test_the_data_set_is_the_same_every_time_and_another_for_another_seed(digits):
    again, other = load(CgDigitsSpec(seed=0)), load(CgDigitsSpec(seed=1))
    assert all(torch.equal(digits.train[0][m], again.train[0][m]) for m in digits.modalities)
    assert torch.equal(digits.test[1], again.test[1])
    assert not torch.equal(digits.train[0]["color"], other.train[0]["color"])
    assert not torch.equal(digits.train[1], other.train[1])  # the split, too


def test_what_is_drawn_follows_the_runs_seed_unless_the_scenario_pins_it(digits):
    def color(dataset):
        return dataset.train[0]["color"]

    follows = {seed: load_dataset(CgDigitsSpec(), seed) for seed in (0, 2**40)}
    assert torch.equal(color(follows[0]), color(digits))
    assert not torch.equal(color(follows[2**40]), color(digits))
    assert load_dataset(CgDigitsSpec(seed=0), 7) is follows[0]
    with pytest.raises(ValueError, match="follow a run's seed"):
        load(CgDigitsSpec())


def test_shapes_of_a_data_set_are_those_of_one_sample():
    samples = ({"a": torch.zeros(4, 3), "b": torch.zeros(4, 1, 2, 2)}, torch.zeros(4, dtype=torch.long))
    assert Dataset(samples, samples, 2).inputs == {"a": InputSpec((3,)), "b": InputSpec((1, 2, 2))}
