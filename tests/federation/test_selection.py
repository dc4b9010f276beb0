"""Drawing idle clients: those foreseen are those drawn."""

import pytest

from interlude.simulator.federation.selection import IdleClients


@pytest.mark.parametrize("num_at_work", [1, 40])
def test_most_of_the_upcoming_clients_are_drawn_next(num_at_work):
    idle = IdleClients(50_000, seed=3)
    at_work = [idle.draw() for _ in range(num_at_work)]
    foreseen, drawn = [], []
    while not foreseen or len(drawn) < len(foreseen):
        idle.put_back(at_work.pop(0))
        foreseen = foreseen or idle.upcoming()
        at_work.append(idle.draw())
        if foreseen:
            drawn.append(at_work[-1])
    assert sum(one == other for one, other in zip(foreseen, drawn, strict=True)) > 0.9 * len(foreseen)


def test_nothing_is_foreseen_of_few_clients_who_soon_come_up_again():
    assert IdleClients(1_000, seed=3).upcoming() == []
