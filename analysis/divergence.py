"""Runs whose training diverged: they have no accuracy, and tables and figures say so."""

from collections.abc import Sequence

from interlude.simulator.record.reader import RunRecord


def diverged_at_s(record: RunRecord) -> float | None:
    """Return the simulated second at which a run diverged; None if it did not."""
    return record.diverged_at_s


def converged(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that did not diverge, whose accuracies count."""
    return [record for record in records if diverged_at_s(record) is None]


def share_text(num_diverged: int, num_runs: int) -> str:
    """Return how many runs of a method diverged: ``diverged``, ``2 of 5 diverged`` or an empty string for none."""
    if not num_diverged:
        return ""
    return "diverged" if num_diverged == num_runs else f"{num_diverged} of {num_runs} diverged"


def divergence_of(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return `share_text` of each label that has runs that diverged."""
    runs: dict[str, list[RunRecord]] = {}
    for record in records:
        runs.setdefault(record.label, []).append(record)
    texts = {label: share_text(len(own) - len(converged(own)), len(own)) for label, own in runs.items()}
    return {label: text for label, text in texts.items() if text}


def divergence_note(records: Sequence[RunRecord]) -> str:
    """Return a sentence for a caption, with a space before it; empty if no run diverged."""
    found = [
        label if text == "diverged" else f"{label} ({text.removesuffix(' diverged')})"
        for label, text in divergence_of(records).items()
    ]
    return f" Diverged, and so without an accuracy: {', '.join(found)}." if found else ""
