"""cg-mnist: the published files and nothing else, colours by the protocol, and one sentence about a bad file."""

import gzip
import struct

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import linear_sum_assignment

from interlude.models.inputs import Reader
from interlude.simulator.data.cg_mnist import INPUTS, CgMnistSpec, load
from interlude.simulator.data.colouring import DRAWN_PALETTE, PALETTE, between
from interlude.simulator.data.idx import read_idx
from interlude.simulator.data.loading import load_dataset
from interlude.simulator.errors import BadInputError
from interlude.simulator.files import DATA_VARIABLE, data_directory

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array, magic=None):
    """Return the bytes of an IDX file, written out by the format's definition."""
    array = np.asarray(array, dtype=np.uint8)
    header = struct.pack(">I", 0x800 + array.ndim if magic is None else magic)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def content():
    """Return the arrays of four small files: three training images and two for the test."""
    images = np.zeros((5, 28, 28))
    images[:, 3, 4], images[:, 3, 5], images[:, 20, 9] = 255, 100, 51
    return [images[:3], [0, 3, 9], images[3:], [7, 1]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    (tmp_path / "mnist").mkdir()
    return tmp_path / "mnist"


def write(folder, content, changes=None):
    """Write four gzipped files; `changes` replaces the bytes of some."""
    for name, array in zip(FILES, content, strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array), mtime=0))
    for name, given in (changes or {}).items():
        (folder / name).write_bytes(given)


def small(**options):
    return load(CgMnistSpec(**{"verify": False, "seed": 0, **options}))


def test_without_noise_every_pixel_is_gray_times_the_digits_colour(folder, content):
    write(folder, content)
    palette = [(10 * i, 200, 255 - i) for i in range(10)]
    (inputs, labels), (test_inputs, _) = (data := small(colour_variance=0.0, palette=palette)).train, data.test
    assert labels.tolist() == [0, 3, 9]
    assert inputs["gray"].dtype == inputs["color"].dtype == torch.uint8
    assert torch.equal(inputs["gray"][:, 0], torch.tensor(content[0], dtype=torch.uint8))
    # digit 3 is (30, 200, 252): x 255/255; x 100/255 = 11.76, 78.43, 98.82; x 51/255 = 6, 40, 50.4
    color = inputs["color"][1]
    assert color[:, 3, 4].tolist() == [30, 200, 252]
    assert color[:, 3, 5].tolist() == [12, 78, 99]
    assert color[:, 20, 9].tolist() == [6, 40, 50]
    assert int((color > 0).sum()) == 9  # everything else stays black
    for image in test_inputs["color"]:  # not the digit's own colour, but one of the palette
        assert tuple(image[:, 3, 4].tolist()) in palette


def test_a_palette_has_a_name_or_ten_colours(folder, content):
    write(folder, content)
    by_name = small(colour_variance=0.0, palette="drawn").train[0]["color"]
    assert by_name[1, :, 3, 4].tolist() == [208, 166, 233]  # the digit is a three
    assert torch.equal(by_name, small(colour_variance=0.0, palette=(DRAWN_PALETTE * 255).tolist()).train[0]["color"])
    wrong = [[0, 0, 0]] * 9, [[0, 0, 256]] * 10, {"between": 1.1}, {"between": "0.5"}, {"between": True}, {"on": 0.5}
    for palette in ("drawnn", *wrong):
        with pytest.raises(ValidationError):
            CgMnistSpec(palette=palette)


def test_palettes_between_the_two_named_ones():
    assert CgMnistSpec(palette={"between": 0}) == CgMnistSpec(palette="drawn")
    biased = CgMnistSpec(palette="biased-mnist").palette
    assert sorted(CgMnistSpec(palette={"between": 1}).palette) == sorted(biased)
    # drawn (19, 4, 44) is darkest and moves to blue (0, 0, 255): half-way (9.5, 2, 149.5), rounded to even
    assert CgMnistSpec(palette={"between": 0.5}).palette[2] == (10, 2, 150)
    distances = torch.cdist(torch.from_numpy(DRAWN_PALETTE), torch.from_numpy(PALETTE)) ** 2
    pairs = linear_sum_assignment(distances.numpy())[1]
    assert between(1.0).tolist() == PALETTE[pairs].tolist()


def test_at_correlation_1_a_test_image_has_its_digits_colour(folder, content):
    write(folder, content)
    color = small(colour_variance=0.0, test_correlation=1.0).test[0]["color"]
    # a seven and a one: (255, 0, 128) and (0, 255, 0)
    assert color[:, :, 3, 4].tolist() == [[255, 0, 128], [0, 255, 0]]
    with pytest.raises(ValidationError, match=r"test_correlation.*coloured_file"):
        CgMnistSpec(test_correlation=1.0, coloured_file="official.npz")


def test_colours_follow_the_runs_seed_and_images_from_a_file_do_not(folder, content):
    write(folder, content)
    drawn, coloured = CgMnistSpec(verify=False), CgMnistSpec(verify=False, coloured_file="official.npz")
    assert drawn.content(1) != drawn.content(2)
    assert coloured.content(1) == coloured.content(2)
    first, other = (load_dataset(drawn, seed).train[0]["color"] for seed in (0, 1))
    assert torch.equal(first, small().train[0]["color"])
    assert not torch.equal(first, other)


def test_noise_moves_a_whole_image_by_one_clipped_colour(folder, content, monkeypatch):
    write(folder, content)
    noise = np.array([[-0.2, 0.1, -0.3], [0.5, -0.07, 0.02], [0.1, 0.1, 0.1]])

    class Generator:
        def integers(self, high, size):
            return np.zeros(size, dtype=np.int64)

        def random(self, size):
            return np.zeros(size)

        def normal(self, mean, deviation, size):
            assert (mean, deviation) == (0.0, pytest.approx(0.2))
            return noise[: size[0]]

    monkeypatch.setattr("interlude.simulator.randomness.Stream.generator", lambda *_: Generator())
    color = small(colour_variance=0.04).train[0]["color"]
    # digit 0 is (1, 0, 0): (0.8, 0.1, 0) in bytes 204, 25.5 -> 26 (to even), 0; at gray 100: 80, 10, 0
    assert color[0, :, 3, 4].tolist() == [204, 26, 0]
    assert color[0, :, 3, 5].tolist() == [80, 10, 0]
    # digit 3 is (225, 225, 0) / 255: red is clipped to 1, green 0.88235 - 0.07 = 0.81235 -> 207.15, blue 5.1
    assert color[1, :, 3, 4].tolist() == [255, 207, 5]
    assert color[1, :, 20, 9].tolist() == [51, 41, 1]


def test_colours_are_seeded_and_independent_of_everything_else(folder, content):
    write(folder, content)
    first, again, other = small(), small(), small(seed=1)
    for split in ("train", "test"):
        color = [getattr(data, split)[0]["color"] for data in (first, again, other)]
        assert torch.equal(color[0], color[1])
        assert not torch.equal(color[0], color[2])
        assert torch.equal(getattr(first, split)[0]["gray"], getattr(other, split)[0]["gray"])


def test_the_network_reads_the_published_normalisation():
    # gray 255 -> (1 - .1307) / .3081; black colour -> -mean / std
    white = Reader(INPUTS["gray"])(torch.full((1, 1, 28, 28), 255, dtype=torch.uint8))
    assert white.unique().item() == pytest.approx((1 - 0.1307) / 0.3081, abs=1e-5)
    black = Reader(INPUTS["color"])(torch.zeros((1, 3, 28, 28), dtype=torch.uint8))
    assert black[0, :, 0, 0].tolist() == pytest.approx([-0.4914 / 0.2023, -0.4822 / 0.1994, -0.4465 / 0.2010], abs=1e-5)


def test_files_may_be_unpacked(folder, content):
    write(folder, content)
    packed = small()
    for name in FILES:
        path = folder / f"{name}.gz"
        (folder / name).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = small()
    assert torch.equal(packed.train[0]["color"], unpacked.train[0]["color"])
    assert [path.name for path in unpacked.files] == list(FILES)


def test_the_papers_own_colours_can_be_read(folder, content):
    write(folder, content)
    train, test = (np.random.default_rng(0).integers(256, size=(n, 28, 28, 3), dtype=np.uint8) for n in (3, 2))
    np.savez(folder / "official.npz", train_image=train, test_image=test, train_label=[0, 3, 9])
    data = small(coloured_file="official.npz")
    assert torch.equal(data.train[0]["color"], torch.from_numpy(train).permute(0, 3, 1, 2))
    assert torch.equal(data.test[0]["color"], torch.from_numpy(test).permute(0, 3, 1, 2))


def test_a_pickle_is_never_opened(folder, content):
    write(folder, content)
    name = "mnist_10color_jitter_var_0.030.npy"
    np.save(folder / name, {"train_image": np.zeros(3)}, allow_pickle=True)
    with pytest.raises(BadInputError, match=r"pickle.*np\.savez\('mnist_10color_jitter_var_0\.030\.npz'"):
        small(coloured_file=name)
    (folder / "disguised.npz").write_bytes((folder / name).read_bytes())
    with pytest.raises(BadInputError, match=r"disguised\.npz: is damaged or not an \.npz archive"):
        small(coloured_file="disguised.npz")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"train_image": np.zeros((3, 28, 28, 3), np.uint8)}, "holds no 'test_image'; it holds train_image"),
        ({"train_image": np.zeros((2, 28, 28, 3), np.uint8)}, r"uint8 of shape \(2, 28, 28, 3\), expected .*\(3, 28"),
        ({"train_image": np.zeros((3, 28, 28, 3))}, "train_image is float64"),
    ],
)
def test_coloured_images_of_another_kind_are_refused(folder, content, arrays, said):
    write(folder, content)
    np.savez(folder / "other.npz", **arrays)
    with pytest.raises(BadInputError, match=said):
        small(coloured_file="other.npz")


IMAGES, LABELS = f"{FILES[0]}.gz", f"{FILES[1]}.gz"
ZEROS = np.zeros((3, 28, 28))


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (IMAGES, gzip.compress(idx(ZEROS))[:-20], "Compressed file ended before"),
        (IMAGES, gzip.compress(idx(ZEROS))[:8] + b"\xff" * 40, "is damaged or not an IDX"),
        (IMAGES, b"<html>Not found</html>", "begins with the number 1013478509.* begins with 2051"),
        (IMAGES, gzip.compress(idx(ZEROS, magic=2049)), "begins with the number 2049"),
        (IMAGES, b"", "too short for an IDX header"),
        (IMAGES, gzip.compress(idx(ZEROS)[:-1]), "says 3 x 28 x 28 = 2352 bytes, but 2351 follow"),
        (IMAGES, gzip.compress(idx(ZEROS) + b"0"), "but more follow"),
        (IMAGES, gzip.compress(idx(np.zeros((3, 28, 27)))), "images are 28 x 27, expected 28 x 28"),
        (LABELS, gzip.compress(idx([0, 3])), "holds 2 labels, but train-images-idx3-ubyte.gz holds 3 images"),
        (LABELS, gzip.compress(idx([0, 10, 1])), "label 1 is 10; labels are 0 to 9"),
    ],
)
def test_a_bad_file_gets_one_sentence_with_its_name(folder, content, name, given, said):
    write(folder, content, {name: given})
    with pytest.raises(BadInputError, match=said) as error:
        small()
    assert str(folder / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_other_data_than_the_published_are_refused_unless_asked_for(folder, content):
    write(folder, content)
    with pytest.raises(BadInputError, match=r"is not the published file.*ba891046.*data\.verify"):
        load(CgMnistSpec(seed=0))


def test_a_missing_file_is_named(folder, content):
    write(folder, content)
    (folder / f"{FILES[3]}.gz").unlink()
    with pytest.raises(BadInputError, match=r"t10k-labels-idx1-ubyte\.gz: is missing"):
        small()


def test_a_byte_file_of_any_shape_round_trips(tmp_path):
    array = np.random.default_rng(0).integers(256, size=(2, 5, 3), dtype=np.uint8)
    (tmp_path / "any").write_bytes(idx(array))
    assert np.array_equal(read_idx(tmp_path / "any", 3), array)


@pytest.fixture(scope="module")
def published():
    directory = data_directory()
    if directory is None or not (directory / "mnist").is_dir():
        pytest.skip(f"{DATA_VARIABLE} names no directory with mnist/ in it")
    return load_dataset(CgMnistSpec(), seed=0)


def test_the_published_set_has_its_known_counts(published):
    counts = [
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ]
    for (inputs, labels), count in zip((published.train, published.test), counts, strict=True):
        assert labels.bincount().tolist() == count
        assert {m: tuple(x.shape[1:]) for m, x in inputs.items()} == {"gray": (1, 28, 28), "color": (3, 28, 28)}
    # the mean and the deviation of its training pixels are the published constants
    gray = published.train[0]["gray"].float() / 255
    assert (gray.mean().item(), gray.std().item()) == (pytest.approx(0.1307, abs=1e-4), pytest.approx(0.3081, abs=1e-4))


def test_colour_tells_the_digit_in_training_as_often_as_calibrated_and_nothing_in_the_test(published):
    def accuracy(inputs, labels):
        """Of the mean colour nearest to the colour of the brightest pixel of each image."""
        gray, color = inputs["gray"].flatten(1), inputs["color"].flatten(2)
        brightest = gray.argmax(dim=1)
        at = color.gather(2, brightest[:, None, None].expand(-1, 3, 1))[:, :, 0] / gray.amax(dim=1, keepdim=True)
        return (torch.cdist(at.double(), torch.from_numpy(PALETTE)).argmin(dim=1) == labels).double().mean().item()

    assert accuracy(*published.train) == pytest.approx(0.862, abs=0.01)  # by the distances of the palette's colours
    assert accuracy(*published.test) == pytest.approx(0.1, abs=0.02)
