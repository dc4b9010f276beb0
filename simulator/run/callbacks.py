"""What a Python caller is told of a run in progress, and how it may end one."""

from collections.abc import Sequence
from dataclasses import dataclass

from interlude.simulator.federation.timeline import OnMerge
from interlude.simulator.run.observer import Evaluated, OnEvaluation


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge: some updates became the next version of the global model."""

    label: str
    """The run's label."""
    time_s: float
    """Simulated seconds."""
    version: int
    """The version that the merge made."""
    staleness: tuple[tuple[int, int], ...]
    """Client, and versions merged since its update's start version, of each update."""


class Callback:
    """A base for callbacks of `interlude.run_scenario`; override what is wanted.

    Callbacks see, and may end a run; they change no event and no result. Of a resumed run they receive what is
    computed from its checkpoint on.
    """

    def on_evaluation(self, evaluated: Evaluated) -> bool | None:
        """Receive an evaluation, in the order of simulated time; a true value ends the run, as complete.

        Overriding it makes every evaluation wait for the training that it needs.
        """

    def on_merge(self, merged: Merged) -> None:
        """Receive a merge, when it happens on the simulated clock; its training may be computed later."""


def on_merge_of(label: str, callbacks: Sequence[Callback]) -> OnMerge | None:
    """Return what tells callbacks of the merges of a run; None if none of them listens."""
    told = [callback for callback in callbacks if type(callback).on_merge is not Callback.on_merge]
    if not told:
        return None

    def tell(at_s: float, version: int, ages: Sequence[tuple[int, int]]) -> None:
        merged = Merged(label, at_s, version, tuple(ages))
        for callback in told:
            callback.on_merge(merged)

    return tell


def on_evaluation_of(function: OnEvaluation | None, callbacks: Sequence[Callback]) -> OnEvaluation | None:
    """Return a function that tells all of an evaluation, and whether one of them ends the run; None without any."""
    told = [callback.on_evaluation for callback in callbacks if _is_told_of_evaluations(callback)]
    functions: list[OnEvaluation] = [*([] if function is None else [function]), *told]
    if not functions:
        return None
    return lambda evaluated: sum(bool(tell(evaluated)) for tell in functions) > 0  # all of them are told


def _is_told_of_evaluations(callback: Callback) -> bool:
    return type(callback).on_evaluation is not Callback.on_evaluation
