"""Every random number has an address: neither other draws nor the order of calls can change it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlude.simulator.philox import first_uniforms
from interlude.simulator.randomness import FEWEST_AHEAD, ClientDraws, Stream, torch_seed
from interlude.simulator.world.world import World, WorldSpec


class Identity:
    """The uniform distribution on (0, 1)."""

    def ppf(self, probability):
        return probability


addresses = st.tuples(st.integers(0, 5), st.integers(0, 300))


@given(st.lists(addresses, min_size=1, max_size=40))
def test_a_draw_is_the_same_in_any_reading_order_and_however_often(asked):
    draws = ClientDraws(7, "arrival", Identity(), "gray")
    seen = {}
    for client, index in [*asked, *reversed(asked), *sorted(asked)]:
        value = draws.at(client, index)
        assert seen.setdefault((client, index), value) == value


@given(st.lists(addresses, min_size=1, max_size=20))
def test_a_draw_does_not_depend_on_which_others_were_asked(asked):
    warm = ClientDraws(7, "arrival", Identity())
    for client, index in asked:
        warm.at(client, index)
    client, index = asked[0]
    assert warm.at(client, index) == ClientDraws(7, "arrival", Identity()).at(client, index)


@pytest.mark.parametrize("index", [0, 3, 4, 62, 63, 64, 65, 127, 128])
def test_blocks_join_without_a_seam(index):
    whole = Stream(3, "arrival", 2, "gray").uniforms(200)
    assert ClientDraws(3, "arrival", Identity(), "gray").at(2, index) == whole[index]


@given(
    seed=st.integers(0, 2**70),
    clients=st.lists(st.integers(0, 2**31), min_size=FEWEST_AHEAD, max_size=100, unique=True),
    asked_before=st.integers(0, 300),
)
def test_draws_read_ahead_for_many_clients_are_those_read_for_each(seed, clients, asked_before):
    ahead, each = (ClientDraws(seed, "arrival", Identity(), "gray") for _ in range(2))
    ahead.at(clients[0], asked_before)
    ahead.read_ahead(clients)
    for client in clients:
        assert [ahead.at(client, index) for index in range(6)] == [each.at(client, index) for index in range(6)]


@pytest.mark.parametrize("key", [(0, 0), (2**64 - 1, 2**64 - 1), (2**63, 1), (0xD2E7470EE14C6C93, 2**32 - 1)])
def test_the_first_numbers_of_many_keys_are_numpys(key):
    keys = np.array([key, (5, 7)], np.uint64)
    wanted = [np.random.Generator(np.random.Philox(key=one)).random(4) for one in keys]
    assert np.array_equal(first_uniforms(keys), wanted)


def test_no_draw_repeats_across_the_seam_of_two_blocks():
    draws = ClientDraws(3, "arrival", Identity())
    assert len({draws.at(0, index) for index in range(256)}) == 256


@given(start=st.integers(0, 50).map(lambda n: 4 * n), count=st.integers(1, 50))
def test_a_stream_can_be_entered_anywhere(start, count):
    stream = Stream(1, "x")
    assert np.array_equal(stream.uniforms(count, start=start), stream.uniforms(start + count)[start:])


@given(seed=st.integers(0, 2**70), few=st.integers(1, 20), more=st.integers(1, 20))
def test_more_clients_leave_the_first_clients_numbers_alone(seed, few, more):
    stream = Stream(seed, "throughput")
    assert np.array_equal(stream.uniforms(few), stream.uniforms(few + more)[:few])


def test_uniforms_lie_strictly_between_0_and_1_and_are_uniform():
    uniforms = Stream(0, "any").uniforms(100_000)
    assert uniforms.min() > 0.0
    assert uniforms.max() < 1.0
    # The mean of n uniforms has deviation 1 / sqrt(12 n) = 0.0009; each tenth holds 10,000 +- 95.
    assert uniforms.mean() == pytest.approx(0.5, abs=0.005)
    assert np.histogram(uniforms, bins=10, range=(0, 1))[0] == pytest.approx(10_000, abs=500)


@pytest.mark.parametrize("raw", [0.0, 1.0])
def test_uniforms_keep_quantile_functions_away_from_their_infinite_ends(raw, monkeypatch):
    class Ends:
        def __init__(self, _bits):
            pass

        def random(self, count):
            return np.full(count, raw)

    monkeypatch.setattr(np.random, "Generator", Ends)
    assert 0.0 < Stream(0, "any").uniforms(1)[0] < 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "arrival", 1, "gray"), (1, "arrival", 1, "gray")),  # seed
        ((0, "arrival", 1, "gray"), (0, "miss", 1, "gray")),  # purpose
        ((0, "arrival", 1, "gray"), (0, "arrival", 2, "gray")),  # client
        ((0, "arrival", 1, "gray"), (0, "arrival", 1, "color")),  # modality
        ((0, "x", 1), (0, "x", "1")),  # a number is not its name
        ((0, "x", "ab", "c"), (0, "x", "a", "bc")),  # parts do not run together
        ((0, "x", 1, 23), (0, "x", 12, 3)),
    ],
)
def test_another_address_is_another_stream(one, other):
    assert not np.intersect1d(Stream(*one).uniforms(64), Stream(*other).uniforms(64)).size


def test_generators_of_different_decisions_are_independent_and_repeatable():
    stream = Stream(0, "batches", 3)
    decisions = {(major, minor): stream.generator(major, minor).random() for major in range(5) for minor in range(5)}
    assert len(set(decisions.values())) == 25
    assert stream.generator(2, 3).random() == decisions[2, 3]


def test_torch_seed_belongs_to_its_stream():
    assert torch_seed(Stream(0, "model")) == torch_seed(Stream(0, "model"))
    assert torch_seed(Stream(0, "model")) != torch_seed(Stream(1, "model"))
    assert 0 <= torch_seed(Stream(0, "model")) < 2**63


def test_the_global_generator_is_neither_read_nor_moved():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = Stream(5, "x").uniforms(8)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, Stream(5, "x").uniforms(8))


_SPREAD = {"distribution": "lognormal", "median": 2.0, "sigma": 0.7}
_WORLD = {
    "arrival": {
        "gray": {"per_client": {"distribution": "lognormal", "median_s": 4, "sigma": 1}, "jitter_sigma": 0.3},
        "color": {"kind": "stream", "sample_period_s": _SPREAD, "transfer_s": _SPREAD, "miss_probability": 0.2},
    },
    "compute": {"throughput_gflops": _SPREAD, "overhead_s": _SPREAD, "jitter_sigma": 0.2},
    "network": {"uplink_mbps": _SPREAD, "downlink_mbps": _SPREAD, "latency_ms": _SPREAD, "jitter_sigma": 0.2},
    "faults": {"dropout_probability": 0.3},
}


def _durations(world, client, window, modalities):
    """Return every duration a client can meet in a local round."""
    return (
        world.arrivals_s(client, window, 10.0, 32, modalities),
        world.devices.overhead_s(client),
        world.devices.s_per_flop(client, window),
        world.links.transfer_s(client, "up", 1000, window),
        world.links.transfer_s(client, "down", 1000, window),
        world.faults.upload_fraction(client, window),
    )


@given(seed=st.integers(0, 1000), num_clients=st.integers(1, 10), window=st.integers(0, 70))
def test_adding_a_client_moves_nobody_elses_world(seed, num_clients, window):
    spec = WorldSpec.model_validate(_WORLD)
    smaller, larger = (World(spec, seed, n, ("gray", "color")) for n in (num_clients, num_clients + 1))
    larger.faults.upload_fraction(num_clients, window)  # the newcomer acts first
    for client in range(num_clients):
        assert _durations(smaller, client, window, ("gray", "color")) == _durations(
            larger, client, window, ("gray", "color")
        )


def test_adding_a_modality_moves_no_other_modality():
    spec = WorldSpec.model_validate(_WORLD)
    one, two = World(spec, 0, 3, ("gray",)), World(spec, 0, 3, ("color", "gray"))
    for window in range(70):
        assert one.arrivals_s(1, window, 0.0, 8, ("gray",)) == two.arrivals_s(1, window, 0.0, 8, ("gray",))


def test_another_seed_is_another_world():
    spec = WorldSpec.model_validate(_WORLD)
    one, other = (World(spec, seed, 3, ("gray", "color")) for seed in (0, 1))
    differences = zip(_durations(one, 0, 0, ("gray",)), _durations(other, 0, 0, ("gray",)), strict=True)
    assert sum(a != b for a, b in differences) >= 5  # all but, perhaps, an upload that breaks off in neither
