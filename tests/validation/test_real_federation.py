"""The real federation runs, and its link keeps its rate; how well it agrees with its simulation is measured by hand."""

import asyncio
import json
from pathlib import Path

import client
import pandas as pd
import pytest
from compare import compare, error_of, local_rounds
from federation import SEQUENTIAL, federation, with_devices
from host import Host
from link import TokenBucket
from processes import Clients
from run import played, simulated

from interlude import load_scenario
from interlude.simulator.calibrate.speed import Speed
from interlude.simulator.run.build import build_testbed
from interlude.simulator.training.host import one_thread

SCENARIO = Path(__file__).parent / "scenario.yaml"
SMALL = ["clients.count=2", "until.simulated_s=2", "evaluate.every_s=1", "training.local_epochs=1"]
SMALL += ["methods=[{name: fedasync}]", *(f"world.arrival.{m}.per_client.median_s=0.1" for m in ("gray", "color"))]


def test_a_token_bucket_paces_bytes_and_saves_up_no_more_than_its_capacity():
    bucket = TokenBucket(bytes_per_s=1000.0, capacity_bytes=100.0, now_s=0.0)
    assert bucket.take(50, 0.0) == pytest.approx(0.05)  # it starts empty
    assert bucket.take(50, 0.05) == pytest.approx(0.10)
    assert bucket.take(50, 0.13) == pytest.approx(0.15)  # 30 ms overslept are made up for
    assert bucket.take(100, 10.0) == pytest.approx(10.0)  # an idle link has saved 100
    assert bucket.take(100, 10.0) == pytest.approx(10.1)
    assert bucket.take(300, 10.1) == pytest.approx(10.4)  # a debt beyond the capacity


class ClientsInThisProcess(Clients):
    """Clients as tasks of this event loop, which import nothing anew; what they send still crosses sockets."""

    async def start(self, config: Path, client_index: int) -> None:
        self.tasks = getattr(self, "tasks", [])
        config_of = json.loads(config.read_text(encoding="utf-8"))
        self.tasks.append(asyncio.create_task(client.main(config_of, client_index)))

    async def finish(self, is_broken: bool) -> None:
        for task in self.tasks if is_broken else ():
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=is_broken)


def test_two_clients_over_sockets_send_what_the_simulator_counts():
    scenario = load_scenario(SCENARIO, [*SMALL, SEQUENTIAL])
    with one_thread():
        host = Host(Speed(1e-10, 2e-5, 1e-3), joint_gflops=2.0)
        (run,) = asyncio.run(played(SCENARIO, SMALL, scenario, host, 0.2, ClientsInThisProcess))
        # on a host that is slow now no simulated upload may end within the real run's seconds
        longer = scenario.model_copy(update={"until": scenario.until.model_copy(update={"simulated_s": 60.0})})
        (predicted,) = simulated(longer, [run.host])
    real = run.outcome.timeline
    assert set(real["activity"]) >= {"download", "train", "upload", "merge"}
    rounds = local_rounds(real)
    assert len(rounds) == (real["activity"] == "merge").sum() >= 1
    uploads = {
        name: t.loc[(t["activity"] == "upload") & (t["outcome"] == "done"), "bytes"]
        for name, t in (("real", real), ("predicted", predicted.timeline))
    }
    assert set(uploads["real"]) == set(uploads["predicted"])  # as many bytes crossed the socket as are counted
    one = compare(predicted, run.outcome, 2.0)
    assert one.accuracy["real"][0] == one.accuracy["predicted"][0]  # the same model at the start
    assert set(run.waits.columns) == {"cpu_s", "cpu_wait_s"}


def test_errors_are_relative_to_what_was_measured():
    error = error_of(pd.Series([1.0, 2.2, 3.0]).to_numpy(), pd.Series([1.0, 2.0, 4.0]).to_numpy())
    assert (error.median, error.median_s) == pytest.approx((0.1, 0.2))
    assert error.bias == pytest.approx((0.1 - 0.25) / 3)


@pytest.mark.parametrize("speed", [Speed(1e-10, 2e-5, 1e-3), Speed(5e-10, 0.0, 0.0)])
def test_a_client_computes_as_much_slower_than_the_host_as_the_scenario_says(speed):
    scenario, host = load_scenario(SCENARIO, [*SMALL, SEQUENTIAL]), Host(speed, joint_gflops=2.0)
    testbed = build_testbed(scenario)
    real = federation(with_devices(testbed, host), 0)
    for index in range(2):
        gflops = 1e-9 / testbed.world.devices.s_per_flop(index, 0)
        assert real.slow_factor(index, 0, host) == pytest.approx(2.0 / gflops)
