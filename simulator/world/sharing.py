"""How one link is shared by transfers that each have a limit of their own: max-min fairness."""

from collections.abc import Sequence


def max_min_rates(capacity: float, limits: Sequence[float]) -> list[float]:
    """Return the max-min fair rate of each transfer, in the order given.

    No rate can be raised without lowering another that is not larger (Bertsekas, Gallager, Data Networks, 1992, section
    6.5.2): a transfer whose limit is below an equal share gets its limit, the others share the rest equally.

    Args:
        capacity: rate of all transfers together, in any unit.
        limits: largest rate of each transfer, in that unit; not negative.
    """
    rates = [0.0] * len(limits)
    left = capacity
    for num_done, index in enumerate(sorted(range(len(limits)), key=limits.__getitem__)):
        rates[index] = min(limits[index], left / (len(limits) - num_done))
        left -= rates[index]
    return rates
