"""A method of a user's own that knows nothing of resume is resumed exactly."""

import importlib

import pytest


@pytest.mark.parametrize("events", [(5,), (9, 14)])
def test_a_method_that_knows_nothing_of_resume_is_resumed_exactly(
    events, toy, stopped_and_resumed, files_of, tmp_path_factory
):
    """Its choices depend on losses that a replay does not compute."""
    del toy
    scenario = importlib.import_module("largest_loss").SCENARIO | {"until": {"versions": 6}}
    whole = stopped_and_resumed(scenario, tmp_path_factory.mktemp("whole"))
    resumed = stopped_and_resumed(scenario, tmp_path_factory.mktemp("resumed"), *events)
    assert files_of(resumed) == files_of(whole)
