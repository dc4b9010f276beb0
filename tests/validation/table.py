"""The comparison as Markdown tables."""

from collections.abc import Iterable, Mapping

from compare import ACTIVITIES, Comparison, Error
from host import HostFacts


def markdown(comparisons: Mapping[str, Comparison], hosts: Mapping[str, HostFacts]) -> str:
    """Return the tables of all methods: times of merges, what else is compared, activities, this machine."""
    return "\n\n".join(
        [
            _table(
                ("method", "merges, predicted / real", "median error", "95th percentile", "median", "95th", "bias"),
                [
                    (method, f"{one.num_merges['predicted']} / {one.num_merges['real']}", *_error(one.merges))
                    for method, one in comparisons.items()
                ],
            ),
            _table(
                (
                    "method",
                    "local rounds per minute",
                    "staleness: distance",
                    "same client at the same place",
                    "Kendall's tau",
                    "MB down",
                    "MB up",
                    "accuracy at the end",
                    "largest difference",
                ),
                [(method, *_other(one)) for method, one in comparisons.items()],
            ),
            _table(
                ("method", "activity", "spans", "median error", "95th percentile", "median", "95th", "bias"),
                [
                    (method, activity, str(error.count), *_error(error))
                    for method, one in comparisons.items()
                    for activity, error in {**{a: one.activities[a] for a in ACTIVITIES}, "round": one.rounds}.items()
                    if error.count
                ],
            ),
            _table(
                (
                    "method",
                    "GFLOP/s, joint",
                    "alone",
                    "time over assumed, joint",
                    "alone",
                    "cores used",
                    "no core, s/min",
                    "sleeps late, ms",
                ),
                [(method, *_host(facts)) for method, facts in hosts.items()],
            ),
        ]
    )


def _error(error: Error) -> tuple[str, ...]:
    return (
        f"{error.median:.2%}",
        f"{error.p95:.2%}",
        f"{1e3 * error.median_s:.0f} ms",
        f"{1e3 * error.p95_s:.0f} ms",
        f"{error.bias:+.2%}",
    )


def _other(one: Comparison) -> tuple[str, ...]:
    def pair(values: Mapping[str, float], form: str, unit: float = 1.0) -> str:
        return " / ".join(format(values[name] / unit, form) for name in ("predicted", "real"))

    moved = {name: {run: one.bytes[run][name] for run in one.bytes} for name in ("download", "upload")}
    return (
        pair(one.rounds_per_minute, ".0f"),
        f"{one.staleness_distance:.3f}",
        f"{one.order_places:.0%}",
        f"{one.order_tau:.4f}",
        pair(moved["download"], ".1f", 1e6),
        pair(moved["upload"], ".1f", 1e6),
        pair({name: values[-1] for name, values in one.accuracy.items()}, ".3f"),
        f"{one.accuracy_difference:.3f}",
    )


def _host(facts: HostFacts) -> tuple[str, ...]:
    gflops, slower = (
        [f"{of[activity]:.2f}" if activity in of else "-" for activity in ("train", "train_unimodal")]
        for of in (facts.gflops, facts.slower)
    )
    return (
        *gflops,
        *slower,
        f"{facts.cores_used:.2f}",
        f"{facts.cpu_wait_s:.2f}",
        f"{facts.late_ms[0]:.1f} / {facts.late_ms[1]:.1f}",
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
