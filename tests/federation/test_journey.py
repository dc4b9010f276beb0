"""A client's journey: how many events of the clock a day takes."""

import pytest

from interlude.simulator.federation.clock import Clock

TOGETHER = {"gray": (1.0, 1.0, 1.0), "color": (2.0, 1.5, 1.0)}


@pytest.mark.parametrize("name", ["fedavg", "fedasync", "mba"])
def test_a_day_that_nothing_interrupts_is_one_entry_of_the_queue(name, paper, monkeypatch):
    wakes = []
    wake_at = Clock.wake_at
    monkeypatch.setattr(
        Clock, "wake_at", lambda clock, at_s, sleeper: wakes.append(at_s) or wake_at(clock, at_s, sleeper)
    )
    played = paper({"name": name}, 38.2, delays_s=TOGETHER)
    dispatched = [span for span in played.spans if span[1] == "download"]
    assert len(wakes) == len(dispatched) > 10
