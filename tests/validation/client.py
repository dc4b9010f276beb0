"""A client of the real federation: one process, which lives the method's day in real time.

The verbs and their order are the method's own `client_round`. What they cost is not taken from the simulator: a
download and an upload move their bytes through the shaped socket, training trains and then sleeps so that it takes
`slow factor` times the processor's time that it took, and waiting ends at the moment at which the data arrive.

Run by `processes.Clients`: python tests/validation/client.py CONFIG CLIENT
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from federation import SEQUENTIAL, Federation, federation, with_devices
from host import Host, cpu_wait_s, host_of
from link import send_shaped, shape_of
from wall import WallTime
from wire import (
    described,
    packed_groups,
    packed_values,
    receive_header,
    send_header,
    unpacked_groups,
    unpacked_values,
)

from interlude import load_scenario
from interlude.simulator.calibrate.speed import Timed
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import MEETING, Dispatch, Download, PendingUpdate, Span
from interlude.simulator.run.build import build_testbed
from interlude.simulator.training.executors.base import TrainingFuture
from interlude.simulator.training.host import keep_freed_memory, one_thread
from interlude.simulator.training.objective import cross_entropy
from interlude.simulator.training.task import LocalSteps, Task, window_samples

_WARM_WINDOWS = 4
_SAMPLE_COUNT_BYTES = 8


class Computed(NamedTuple):
    """One training: what it counts, and what it took."""

    activity: str
    flops: int
    assumed_s: float
    """Processor time that the prediction assumes."""
    cpu_s: float
    """Processor time of the training itself."""
    host_s: float
    """Wall-clock time of the same, so that what is above `cpu_s` was spent waiting for a core."""
    late_s: float
    """How much later than its modelled end the sleep after it ended."""


class Client:
    """One client in one method's run.

    Args:
        federation: the run.
        client: its index.
        host: how fast this host computes.
    """

    def __init__(self, federation: Federation, client: int, host: Host) -> None:
        self._federation = federation
        self._client = client
        self._host = host
        self._tasks: list[TrainingFuture] = []
        self._rows: list[tuple[str, float, float, str | None, int, int]] = []
        self._computed: list[Computed] = []

    def warm_up(self) -> None:
        """Simulate a few days and train what they submit, so that no first time falls into the run."""
        run = self._federation
        for window in range(_WARM_WINDOWS):
            dispatch = self._dispatch(window, 0, 0.0)
            dispatch.received, dispatch.broadcast = run.model, run.method.broadcast(self._memory())
            dispatch.start = run.model
            for span in run.method.client_round(self._day(dispatch)):
                dispatch.now_s += span.duration_s
            for task in self._tasks:
                task.result()
            self._tasks.clear()

    async def rehearse(self, seconds: float, wall: WallTime) -> tuple[list[Timed], list[Timed]]:
        """Train, sleep as in a run and wait for data as in one; returns joint local rounds and other trainings.

        All clients do so at once: this is how fast the host is between sleeps, with cold caches, which a benchmark
        that trains back to back does not see. Whole local rounds and single passes take turns, on all modalities and on
        each alone, so that FLOPs, operations and tasks can be told apart.
        """
        run, window = self._federation, 0
        joint: list[Timed] = []
        other: list[Timed] = []
        shard, num_samples = run.setting.population.shards[self._client], run.setting.training.window_samples
        while wall.now_s() < seconds:
            day = self._day(self._dispatch(window, 0, wall.now_s()))
            parts = [day.held, *((modality,) for modality in day.held if len(day.held) > 1)]
            kinds = [(part, steps) for steps in (day.num_steps(), day.num_steps(1)) for part in parts]
            modalities, num_steps = kinds[window % len(kinds)]
            steps = LocalSteps(cross_entropy(modalities), num_steps, "rehearsal")
            samples = window_samples(shard, window, num_samples)
            begins_cpu_s = time.thread_time()
            run.executor.train(Task(self._client, window, 0, (steps,), samples, run.model, run.model))
            cost = run.setting.costs.of_task((steps,), day.num_samples)
            timed = Timed(cost.flops, cost.operations, time.thread_time() - begins_cpu_s)
            (joint if window % len(kinds) == 0 else other).append(timed)
            await wall.sleep_until(max(day.arrivals_s.values()) + timed.seconds * self._slow_factor(window))
            window += 1
        return joint, other

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wall: WallTime) -> None:
        """Spend one local round after the other until the server closes the connection."""
        async with asyncio.TaskGroup() as group:  # an error in a day ends the process
            day: asyncio.Task[None] | None = None
            while (header := await receive_header(reader)) is not None:
                try:
                    body = await reader.readexactly(header["body_bytes"])
                except asyncio.IncompleteReadError:
                    break  # the run ended during the download
                day = group.create_task(self._spend(header, body, wall.now_s(), writer, wall))
            if day is not None:
                day.cancel()

    async def _spend(
        self, header: Mapping[str, Any], body: bytes, received_s: float, writer: asyncio.StreamWriter, wall: WallTime
    ) -> None:
        """Spend a local round, verb by verb, from the moment at which its download was complete."""
        dispatch = self._dispatch(header["window"], header["version"], header["start_s"])
        day = self._day(dispatch)
        self._rows.clear()
        self._computed.clear()
        for span in self._federation.method.client_round(day):
            begins_s = dispatch.now_s
            if span is MEETING:
                raise NotImplementedError("methods that meet the server in mid-round are not validated")
            if span.activity == "download":
                self._check(span, body)
                self._unpack(body, header, dispatch)
                dispatch.now_s = received_s
            elif span.activity == "wait":
                assert span.modality is not None, "every wait is for a modality"
                await wall.sleep_until(day.arrivals_s[span.modality])
                dispatch.now_s = wall.now_s()
            elif span.update is not None:
                await self._upload(span, span.update, dispatch, writer, wall)
                dispatch.now_s = wall.now_s()
            else:
                await self._train(span, dispatch, wall)
                dispatch.now_s = wall.now_s()
            self._rows.append((span.activity, begins_s, dispatch.now_s, span.modality, span.num_bytes, span.flops))

    async def _train(self, span: Span, dispatch: Dispatch, wall: WallTime) -> None:
        """Train, then sleep as long as the scenario's device is slower than this host."""
        num_samples = self._federation.setting.num_window_samples[self._client]
        costs = [self._federation.setting.costs.of_task(one.task.local_steps, num_samples) for one in self._tasks]
        assumed_s = sum(self._host.speed.seconds(cost.flops, cost.operations) for cost in costs)
        begins_s, begins_cpu_s = wall.now_s(), time.thread_time()
        for one in self._tasks:
            one.result()
        self._tasks.clear()
        cpu_s, host_s = time.thread_time() - begins_cpu_s, wall.now_s() - begins_s
        ends_s = begins_s + cpu_s * self._slow_factor(dispatch.window)
        await wall.sleep_until(ends_s)
        self._computed.append(Computed(span.activity, span.flops, assumed_s, cpu_s, host_s, wall.now_s() - ends_s))

    async def _upload(
        self, span: Span, update: PendingUpdate, dispatch: Dispatch, writer: asyncio.StreamWriter, wall: WallTime
    ) -> None:
        """Send the update; the server notes when its last byte arrives."""
        network, trained = self._federation.ingredients.network, update.trained.result()
        body = update.num_samples.to_bytes(_SAMPLE_COUNT_BYTES, "big")
        body += packed_groups(network, trained.parameters, update.groups) + packed_values(trained.report)
        self._check(span, body)
        header = {
            "window": dispatch.window,
            "version": update.version,
            "groups": update.groups,
            "num_samples": update.num_samples,
            "loss": float(trained.loss),
            "report": described(trained.report),
            "rows": self._rows,
            "computed": self._computed,
            "start_s": dispatch.now_s,
            "cpu_wait_s": cpu_wait_s(),
            "cpu_s": time.process_time(),
            "body_bytes": len(body),
        }
        send_header(writer, header)
        shape = shape_of(self._federation.ingredients.world.links, self._client, "up", dispatch.window)
        await send_shaped(writer, body, shape, wall)

    def _slow_factor(self, window: int) -> float:
        return self._federation.slow_factor(self._client, window, self._host)

    def _unpack(self, body: bytes, header: Mapping[str, Any], dispatch: Dispatch) -> None:
        """Take what the server sent into the day."""
        network, held = self._federation.ingredients.network, self._federation.setting.population.modalities
        groups = network.groups_of(held[self._client])
        dispatch.received, rest = unpacked_groups(network, body, groups)
        dispatch.start = dispatch.received
        dispatch.broadcast, _ = unpacked_values(rest, header["values"])

    def _dispatch(self, window: int, version: int, start_s: float) -> Dispatch:
        return Dispatch(self._client, window, version, None, start_s, {}, {}, {})

    def _day(self, dispatch: Dispatch) -> ClientDay:
        return ClientDay(self._federation.setting, dispatch, self._submit, _refuse)

    def _submit(self, task: Task) -> TrainingFuture:
        future = self._federation.executor.submit(task)
        self._tasks.append(future)
        return future

    def _memory(self) -> Any:
        ingredients = self._federation.ingredients
        return ingredients.method.initial_memory(ingredients.network, ingredients.population.num_clients)

    @staticmethod
    def _check(span: Span, body: bytes) -> None:
        if len(body) != span.num_bytes:
            raise AssertionError(f"a {span.activity} of {len(body)} bytes, of which {span.num_bytes} are counted")


def _refuse(dispatch: Dispatch) -> Download:
    raise NotImplementedError("methods that download in mid-round are not validated")


async def main(config: Mapping[str, Any], client: int) -> None:
    """Take part in the run of every method, one connection each."""
    testbed = build_testbed(load_scenario(config["scenario"], [*config["overrides"], SEQUENTIAL]))
    for position in range(len(testbed.scenario.methods)):
        host = host_of(config["host"])
        one = Client(federation(with_devices(testbed, host), position), client, host)
        one.warm_up()
        reader, writer = await asyncio.open_connection("127.0.0.1", config["port"])
        send_header(writer, {"client": client, "position": position})
        rehearsal = await receive_header(reader)
        if rehearsal is None:
            return
        joint, other = await one.rehearse(rehearsal["seconds"], WallTime(time.monotonic()))
        send_header(writer, {"joint": joint, "other": other})
        begin = await receive_header(reader)
        if begin is None:
            return
        host = host_of(begin["host"])
        one = Client(federation(with_devices(testbed, host), position), client, host)
        await one.serve(reader, writer, WallTime(begin["start_s"]))
        writer.close()


if __name__ == "__main__":
    keep_freed_memory()
    with one_thread():
        asyncio.run(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), int(sys.argv[2])))
