"""The one sentence with which a scenario is refused."""

import pytest

from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.loading import load_scenario


def sentence_about(path, overrides=()):
    """Return the one sentence with which a scenario file is refused."""
    with pytest.raises(BadInputError) as caught:
        load_scenario(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_says(path, *parts):
    message = sentence_about(path)
    assert message.startswith(str(path))
    for part in parts:
        assert part in message
