"""Counts by number of samples: exact, and made at few sizes where they lie on a polynomial."""

import pytest

from interlude.simulator.training.profile.by_samples import BySamples

SIZES = [32, 7, 19, 3, 28, *range(1, 65)]


class Counting:
    """Counts how often a count is made."""

    def __init__(self, formula):
        self.formula, self.made = formula, []

    def __call__(self, num_samples):
        self.made.append(num_samples)
        return self.formula(num_samples)


@pytest.mark.parametrize(
    "formula",
    [lambda n: 7, lambda n: 12 * n, lambda n: 5 + 3 * n + n * (n - 1) // 2],
    ids=["constant", "linear", "pairs"],
)
def test_a_polynomial_is_counted_at_five_sizes_and_beyond_the_largest_and_smallest(formula):
    count = Counting(formula)
    of = BySamples(count)
    assert [of(size) for size in SIZES] == [formula(size) for size in SIZES]
    assert count.made == [32, 7, 19, 3, 28, 1, *range(33, 65)]


@pytest.mark.parametrize(
    "formula",
    [lambda n: 12 * min(n, 30), lambda n: 12 * max(n, 5), lambda n: n**3, lambda n: 8 * -(-n // 8), lambda n: n // 2],
    ids=["cap", "floor", "cubic", "padded", "halved"],
)
@pytest.mark.parametrize("first", [SIZES[:5], [8, 16, 24, 32, 40], [64, 32, 16, 8, 4]], ids=["odd", "eights", "twos"])
def test_any_other_count_is_made_at_every_size(formula, first):
    of = BySamples(formula)
    sizes = [*first, *SIZES]
    assert [of(size) for size in sizes] == [formula(size) for size in sizes]
