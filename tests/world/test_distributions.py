"""Distributions: quantiles, medians and means worked out by hand, and what a scenario may not say."""

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from interlude.simulator.world.distributions import (
    DISTRIBUTIONS,
    Empirical,
    MeanOneJitter,
    NonNegativeDistribution,
    Rate,
    Seconds,
)

ANY, RATE, SECONDS = TypeAdapter(NonNegativeDistribution), TypeAdapter(Rate), TypeAdapter(Seconds)
E1 = 1 - math.exp(-1)  # 63.2 %

SAMPLES = {
    "constant": {"value": 7.0},
    "uniform": {"low": 2.0, "high": 6.0},
    "normal": {"mean": 1.0, "std": 2.0},
    "lognormal": {"median": 4.0, "sigma": 1.0},
    "exponential": {"mean": 10.0},
    "gamma": {"shape": 2.0, "mean": 3.0},
    "weibull": {"shape": 2.0, "scale": 5.0},
    "pareto": {"shape": 3.0, "minimum": 3.0},
    "quantiles": {"probabilities": [0, 0.1, 0.5, 1], "values": [1.0, 2.0, 5.0, 40.0], "spacing": "log"},
}


def quantile(given, probability):
    return ANY.validate_python(given).ppf(np.array([probability]))[0]


def problem(adapter, given):
    """Return what is said about something that must not be accepted."""
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(given)
    return caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("given", "probability", "expected"),
    [
        ({"distribution": "constant", "value": 7}, 0.01, 7.0),
        ({"distribution": "uniform", "low": 2, "high": 6}, 0.25, 3.0),
        ({"distribution": "uniform", "low": 5, "high": 5}, 0.9, 5.0),
        # far from zero the cut does not matter: 100 + 2 z, z(0.975) = 1.959964
        ({"distribution": "normal", "mean": 100, "std": 2}, 0.975, 103.919928),
        # cut in half at its mean: P(X <= x) = 2 Phi(x) - 1, median Phi^-1(0.75)
        ({"distribution": "normal", "mean": 0, "std": 1}, 0.5, 0.674490),
        # clipping would put a quarter of the mass at 0; truncation gives Phi^-1(0.625)
        ({"distribution": "normal", "mean": 0, "std": 1}, 0.25, 0.318639),
        ({"distribution": "lognormal", "median": 4, "sigma": 1}, 0.5, 4.0),
        ({"distribution": "lognormal", "median": 4, "sigma": 1}, 0.8413447461, 4 * math.e),  # one deviation up
        ({"distribution": "exponential", "mean": 10}, 0.5, 10 * math.log(2)),
        ({"distribution": "exponential", "mean": 10}, E1, 10.0),
        # shape 1 is the exponential
        ({"distribution": "gamma", "shape": 1, "mean": 3}, 0.5, 3 * math.log(2)),
        ({"distribution": "weibull", "shape": 2, "scale": 5}, E1, 5.0),
        ({"distribution": "weibull", "shape": 0.5, "scale": 5}, E1, 5.0),
        ({"distribution": "pareto", "shape": 2, "minimum": 3}, 1e-12, 3.0),
        # 1 - (3/x)^2 = 1/2 at x = 3 sqrt 2
        ({"distribution": "pareto", "shape": 2, "minimum": 3}, 0.5, 3 * math.sqrt(2)),
    ],
)
def test_quantiles_are_those_worked_out_by_hand(given, probability, expected):
    assert quantile(given, probability) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"distribution": "constant", "value": 7}, 7.0),
        ({"distribution": "uniform", "low": 2, "high": 6}, 4.0),
        ({"distribution": "normal", "mean": 0, "std": 1}, math.sqrt(2 / math.pi)),  # half-normal
        ({"distribution": "lognormal", "median": 4, "sigma": 1}, 4 * math.exp(0.5)),
        ({"distribution": "exponential", "mean": 10}, 10.0),
        ({"distribution": "gamma", "shape": 2, "mean": 3}, 3.0),
        ({"distribution": "weibull", "shape": 2, "scale": 5}, 5 * math.sqrt(math.pi) / 2),  # scale Gamma(1.5)
        ({"distribution": "pareto", "shape": 3, "minimum": 3}, 4.5),  # a m / (a - 1)
    ],
)
def test_means_are_those_worked_out_by_hand(given, expected):
    assert ANY.validate_python(given).mean_value == pytest.approx(expected)


@pytest.mark.parametrize("name", SAMPLES)
def test_quantiles_are_ordered_and_never_negative_and_average_to_the_mean(name):
    distribution = ANY.validate_python({"distribution": name, **SAMPLES[name]})
    probability = (np.arange(100_000) + 0.5) / 100_000
    values = distribution.ppf(probability)
    assert values.shape == probability.shape
    assert (values >= 0).all()
    assert (np.diff(values) >= 0).all()
    assert values.mean() == pytest.approx(distribution.mean_value, rel=0.005)


def test_a_changed_copy_has_the_quantiles_of_its_new_fields_and_is_checked():
    one = ANY.validate_python({"distribution": "lognormal", "median": 4, "sigma": 1})
    assert one.ppf(np.array([0.5]))[0] == pytest.approx(4.0)
    assert one.model_copy(update={"median": 8.0}).ppf(np.array([0.5]))[0] == pytest.approx(8.0)
    assert one.model_copy() == one
    with pytest.raises(ValidationError, match="greater than 0"):
        one.model_copy(update={"sigma": -1.0})


def test_gamma_has_the_variance_of_its_shape():
    # variance = mean^2 / shape = 9 / 2
    values = ANY.validate_python({"distribution": "gamma", "shape": 2, "mean": 3}).ppf((np.arange(100_000) + 0.5) / 1e5)
    assert values.var() == pytest.approx(4.5, rel=0.005)


def test_every_named_distribution_is_tested_here():
    assert set(DISTRIBUTIONS) == {*SAMPLES, "empirical"}


@pytest.mark.parametrize(
    ("spacing", "values", "probability", "expected"),
    [
        ("linear", [0, 2, 4, 14], 0.5, 4.0),
        ("linear", [0, 2, 4, 14], 0.75, 9.0),
        ("log", [1, 2, 8, 8], 0.3, 4.0),  # halfway, in octaves
        ("log", [1, 2, 8, 8], 0.9, 8.0),
    ],
)
def test_published_quantiles_are_met_and_interpolated(spacing, values, probability, expected):
    given = {"distribution": "quantiles", "probabilities": [0, 0.1, 0.5, 1], "values": values, "spacing": spacing}
    assert quantile(given, probability) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("probabilities", "values", "spacing", "said"),
    [
        ([0, 1], [1], "linear", "2 probabilities and 1 values"),
        ([0.1, 1], [1, 2], "linear", "rise from 0 to 1"),
        ([0, 0.5, 0.5, 1], [1, 2, 3, 4], "linear", "rise from 0 to 1"),
        ([0, 1], [2, 1], "linear", "must not fall"),
        ([0, 1], [0, 1], "log", "needs values above 0"),
    ],
)
def test_what_is_no_quantile_function_is_refused(probabilities, values, spacing, said):
    given = {"distribution": "quantiles", "probabilities": probabilities, "values": values, "spacing": spacing}
    assert said in problem(ANY, given)


@pytest.mark.parametrize(("given", "expected"), [(3, 3.0), (2.5, 2.5), (0, 0.0)])
def test_a_number_is_a_constant(given, expected):
    assert quantile(given, 0.3) == expected


@pytest.mark.parametrize(
    "given",
    [
        -1,
        math.nan,
        math.inf,
        True,
        None,
        "fast",
        [1, 2],
        {"value": 3},
        {"distribution": "lognormall", "median": 1, "sigma": 1},
        {"distribution": "constant", "value": -1},
        {"distribution": "constant", "value": math.inf},
        {"distribution": "constant", "value": 1, "sigma": 1},
        {"distribution": "uniform", "low": -1, "high": 1},
        {"distribution": "uniform", "low": 3, "high": 2},
        {"distribution": "uniform", "low": 3},
        {"distribution": "normal", "mean": 1, "std": 0},
        {"distribution": "normal", "mean": -1, "std": 1},
        {"distribution": "lognormal", "median": 0, "sigma": 1},
        {"distribution": "lognormal", "median": 1, "sigma": -1},
        {"distribution": "lognormal", "median": math.nan, "sigma": 1},
        {"distribution": "lognormal", "mean": 1, "sigma": 1},
        {"distribution": "exponential", "mean": 0},
        {"distribution": "gamma", "shape": 0, "mean": 1},
        {"distribution": "weibull", "shape": 1, "scale": -2},
        {"distribution": "pareto", "shape": 1, "minimum": 1},  # no mean
        {"distribution": "pareto", "shape": 2, "minimum": 0},
    ],
)
def test_bad_parameters_are_refused(given):
    assert problem(ANY, given)


@pytest.mark.parametrize(
    "given", [0, {"distribution": "constant", "value": 0}, {"distribution": "uniform", "low": 0, "high": 0}]
)
def test_a_rate_of_zero_would_take_for_ever_and_is_refused(given):
    assert "positive" in problem(RATE, given)


def test_a_rate_that_is_positive_is_accepted():
    assert RATE.validate_python({"distribution": "exponential", "mean": 2}).mean_value == 2.0


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"distribution": "lognormal", "median": 4, "sigma": 1}, "median_s"),
        ({"distribution": "constant", "value": 4}, "value_s"),
        ({"distribution": "uniform", "low_s": 1, "high": 2}, "high_s"),
        (4, "value_s: 4"),
        (4.5, "value_s: 4.5"),
    ],
)
def test_a_time_must_name_its_unit(given, advice):
    assert advice in problem(SECONDS, given)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_time_that_names_its_unit_survives_being_written_and_read(name):
    dimensionless = {"sigma", "shape", "probabilities", "spacing"}
    given = {key if key in dimensionless else f"{key}_s": value for key, value in SAMPLES[name].items()}
    given["distribution"] = name
    parsed = SECONDS.validate_python(given)
    assert parsed == ANY.validate_python({"distribution": name, **SAMPLES[name]})
    assert SECONDS.dump_python(parsed, mode="json") == given


@pytest.fixture
def csv_file(tmp_path):
    def write(text):
        path = tmp_path / "trace.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def empirical(path, column="delay"):
    return {"distribution": "empirical", "file": str(path), "column": column}


@pytest.mark.parametrize(("probability", "expected"), [(0.25, 1.5), (0.5, 2.0), (0.75, 3.0)])
def test_empirical_interpolates_between_the_order_statistics_of_its_column(csv_file, probability, expected):
    # sorted: 1, 2, 4 at probabilities 0, 1/2, 1
    assert quantile(empirical(csv_file("id,delay\na,4\nb,1\nc,2\n")), probability) == expected


def test_empirical_mean_is_the_sample_mean(csv_file):
    assert ANY.validate_python(empirical(csv_file("delay\n4\n1\n2\n"))).mean_value == pytest.approx(7 / 3)


def test_a_changed_copy_of_an_empirical_distribution_reads_its_new_column(csv_file):
    delays = ANY.validate_python(empirical(csv_file("delay,other\n1,10\n3,30\n")))
    assert delays.model_copy(update={"column": "other"}).mean_value == 20.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,other\na,1\n", "its columns are: id, other"),
        ("delay\n1\n-2\n", "negative"),
        ("delay\n1\nnan\n", "non-finite"),
        ("delay\n1\ninf\n", "non-finite"),
        ("delay\n", "no values"),
        ("", "its columns are: none"),
        ("delay\n1\nsoon\n", "soon"),
        ("id,delay\na,1\nb\n", "line 3: has 1 cell, but the header has 2"),
    ],
    ids=["no such column", "negative", "nan", "infinite", "empty column", "empty file", "text", "short line"],
)
def test_a_bad_csv_is_named_with_what_is_wrong(csv_file, text, said):
    path = csv_file(text)
    message = problem(ANY, empirical(path))
    assert said in message
    assert str(path) in message


def test_a_csv_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path):  # no file; a directory
        message = problem(ANY, empirical(path))
        assert "cannot read" in message
        assert str(path) in message


def test_a_csv_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "binary.csv"
    path.write_bytes(b"delay\n\xff\xfe\n")
    assert str(path) in problem(ANY, empirical(path))


def test_two_empirical_distributions_of_one_file_are_equal(csv_file):
    given = empirical(csv_file("delay\n1\n2\n"))
    assert Empirical.model_validate(given) == Empirical.model_validate(given)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.0])
def test_jitter_has_mean_one(sigma):
    # E f(Z) for a standard normal Z by quadrature, independent of the quantile function's tails
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    from scipy.special import ndtr

    factors = MeanOneJitter(sigma).ppf(ndtr(points[np.abs(points) < 8]))
    weights = weights[np.abs(points) < 8]
    assert factors @ weights / weights.sum() == pytest.approx(1.0, abs=1e-6)


def test_jitter_has_its_sigma_and_median():
    # ln f = sigma z - sigma^2 / 2: at the median z = 0, one deviation up z = 1
    median, up = MeanOneJitter(0.4).ppf(np.array([0.5, 0.8413447461]))
    assert math.log(median) == pytest.approx(-0.08)
    assert math.log(up) == pytest.approx(0.32)


def test_no_jitter_is_exactly_one():
    assert (MeanOneJitter(0.0).ppf(np.array([1e-9, 0.3, 0.9])) == 1.0).all()
