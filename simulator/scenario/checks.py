"""Checks a scenario against its data set, once that is loaded: modalities, encoders, clients."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from interlude.models.encoders import misfit
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.data.dataset import Dataset
from interlude.simulator.data.partition import check_partition, num_served
from interlude.simulator.errors import BadInputError, CannotRunError, nearest
from interlude.simulator.own_code.errors import blaming
from interlude.simulator.scenario.registry import method_class
from interlude.simulator.scenario.scenario import Scenario


def check(scenario: Scenario, dataset: Dataset, *, timing_only: bool = False) -> None:
    """Check that a scenario fits the data set that it names, as far as is known without a draw.

    Args:
        scenario: the scenario.
        dataset: the data set.
        timing_only: whether nothing is trained, so that several clients may hold the same samples.

    Raises:
        CannotRunError: one sentence with the field, the given value and the data set's values.
    """
    partition, num_clients = scenario.data.partition, scenario.clients.count
    try:
        check_partition(partition, dataset, num_served(partition, dataset, num_clients) if timing_only else num_clients)
    except BadInputError as error:
        raise CannotRunError(str(error)) from error
    if dataset.drawn is not None:
        _check_drawn(scenario)
    _check_fractions(scenario.clients.modalities, dataset.modalities)
    modality = scenario.until.modality
    if modality is not None and modality not in dataset.modalities:
        raise CannotRunError(
            f"until.modality: unknown modality '{modality}'; the data set's modalities are "
            f"{', '.join(dataset.modalities)}{nearest(modality, dataset.modalities)}"
        )
    _same_names(dataset.modalities, scenario.world.arrival, "world.arrival", "an arrival model")
    if isinstance(scenario.model.encoder, dict):
        _same_names(dataset.modalities, scenario.model.encoder, "model.encoder", "an encoder")
    for modality, given in dataset.inputs.items():
        encoder = scenario.model.encoder_of(modality)
        why_not = misfit(encoder, given) if isinstance(encoder, str) else None
        if why_not is not None:
            raise CannotRunError(f"model.encoder: modality '{modality}': {why_not}")
    for i, method in enumerate(scenario.methods):
        _check_number(f"methods.{i}.name", method.name, dataset.modalities)
        _check_head(f"methods.{i}.name", method.name, scenario.model)
        with _of_method(i):
            method.check_modalities(dataset.modalities)


def _check_drawn(scenario: Scenario) -> None:
    """Refuse what takes training samples that no client holds."""
    evaluate = scenario.evaluate
    for field, given in (("validation", evaluate.validation), ("nearest_mean_samples", evaluate.nearest_mean_samples)):
        if given:
            raise CannotRunError(
                f"evaluate.{field}: data set '{scenario.data.dataset}' draws training samples for clients alone, so "
                f"none are left for it; leave it out, given {given}"
            )


def check_network(scenario: Scenario, network: Network) -> None:
    """Check that the methods of a scenario can train its network.

    Raises:
        CannotRunError: one sentence with the option, what was given and what is accepted.
    """
    for i, method in enumerate(scenario.methods):
        with _of_method(i):
            method.check_network(network)


@contextmanager
def _of_method(index: int) -> Iterator[None]:
    """Turn what a method's options refuse into one sentence that begins with the field."""
    with blaming(f"methods.{index}", is_own=False):
        try:
            yield
        except ValueError as error:
            raise CannotRunError(f"methods.{index}.{error}") from error


def _check_number(field: str, method: str, modalities: Sequence[str]) -> None:
    needed = method_class(method).min_modalities
    if len(modalities) < needed:
        raise CannotRunError(
            f"{field}: {method} needs at least {needed} modalities, but the data set has only {', '.join(modalities)}"
        )


def _check_head(field: str, method: str, model: ModelSpec) -> None:
    if method_class(method).needs_summed_head and not isinstance(model.fusion, str):
        raise CannotRunError(
            f"{field}: {method} needs a fusion head that is a sum over modalities, 'concat' or 'late_sum'; "
            f"model.fusion is '{model.fusion.name}'"
        )


def _check_fractions(fractions: Mapping[str, float] | None, modalities: Sequence[str]) -> None:
    for name in fractions or {}:
        if name not in modalities:
            raise CannotRunError(
                f"clients.modalities: unknown modality '{name}'; the data set's modalities are "
                f"{', '.join(modalities)}{nearest(str(name), modalities)}"
            )
    if fractions is not None and all(fractions.get(modality, 1.0) == 0.0 for modality in modalities):
        raise CannotRunError("clients.modalities: no client would hold any modality; raise one share above 0")


def _same_names(modalities: Sequence[str], given: Mapping[str, Any], field: str, what: str) -> None:
    names = ", ".join(modalities)
    for name in given:
        if name not in modalities:
            raise CannotRunError(
                f"{field}: unknown modality '{name}'; the data set's modalities are {names}"
                + nearest(str(name), modalities)
            )
    for modality in modalities:
        if modality not in given:
            raise CannotRunError(f"{field}: modality '{modality}' has no entry; each of {names} needs {what}")
