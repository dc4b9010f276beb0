# ruff: noqa: T201
"""Other federated-learning simulators on the same workloads, against the same plain loop.

Run with the Python of an environment that holds a peer, made as README.md says:

    PYTHONPATH=. /path/to/environment/bin/python tests/benchmarks/bench_peers.py

A peer that cannot be imported is left out, and said so; ``--smoke`` measures the plain loop alone. Timed are the rounds
after the first: start-up, the first round and evaluation are not in it. FLGo runs in this process, on one thread, and
Flower on Ray with two actors of one thread each.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from workloads import (
    KNOWN,
    LEARNING_RATE,
    SEED,
    SMOKE,
    Measured,
    PlainLoop,
    PlainModel,
    Workload,
    alternate,
    check,
    copied,
    distance,
    fix_process,
    measured_loop,
    rates,
    ratios,
    samples,
    shared_loop,
    spread,
)

FLOWER_ACTORS = 2
RAY_LEAVES_S = 5.0  # its processes take a moment to go, and would slow down what is measured next
LOOP_ROUNDS = {"W1": 3, "W2": 1, "S1": 1, "S2": 1}


def after_the_first(workload: Workload, stamps: list[float]) -> Measured:
    """Return the trainings between the end of the first round and the end of the last."""
    return Measured((len(stamps) - 1) * workload.clients_per_round, stamps[-1] - stamps[0])


# FLGo


class JoinedModel(nn.Module):
    """The plain model behind one input tensor: the modalities side by side along their first dimension."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.plain = PlainModel(workload)
        self._sizes = [shape[0] for shape in workload.shapes.values()]

    def forward(self, joined: Tensor) -> Tensor:
        """Return the logits."""
        parts = joined.split(self._sizes, dim=1)
        return self.plain(dict(zip(self.plain.encoders, parts, strict=True)))


def flgo_task(workload: Workload) -> types.ModuleType:
    """Return FLGo's view of a workload: how its data are loaded, and how a loss is computed."""
    from flgo.benchmark.base import BasicTaskPipe
    from flgo.benchmark.toolkits.cv.classification import GeneralCalculator

    inputs, labels = samples(workload.name)[0]
    joined = torch.cat(list(inputs.values()), dim=1)
    size = workload.samples_per_client

    class TaskPipe(BasicTaskPipe):
        def load_data(self, running_time_option: dict[str, Any]) -> dict[str, Any]:
            data: dict[str, Any] = {"server": {"test": None, "val": None}}
            for client, name in enumerate(self.feddata["client_names"]):
                held = slice(client * size, (client + 1) * size)
                data[name] = {"train": TensorDataset(joined[held], labels[held]), "val": None}
            return data

    task = types.ModuleType("bench_flgo.core")
    task.TaskPipe, task.TaskCalculator = TaskPipe, GeneralCalculator  # type: ignore[attr-defined]
    return task


def flgo_algorithm(stamps: list[float]) -> type:
    """Return FedAvg whose server notes when each round ended; fresh classes, because FLGo wraps them at every start."""
    from flgo.algorithm import fedavg

    class Server(fedavg.Server):
        def iterate(self) -> Any:
            updated = super().iterate()
            stamps.append(time.perf_counter())
            return updated

    class Client(fedavg.Client):
        pass

    return type("fedavg", (), {"Server": Server, "Client": Client})


def flgo(workload: Workload, rounds: int) -> Measured:
    """Run FedAvg in FLGo."""
    import flgo
    from torch.optim.optimizer import register_optimizer_step_post_hook

    stamps: list[float] = []
    steps: list[None] = []
    sys.modules["bench_flgo"] = types.ModuleType("bench_flgo")
    sys.modules["bench_flgo.core"] = flgo_task(workload)
    options = {
        "num_rounds": rounds,
        "proportion": (workload.clients_per_round + 0.5) / workload.num_clients,
        "num_epochs": 1,
        "learning_rate": LEARNING_RATE,
        "batch_size": workload.batch_size,
        "train_holdout": 0.0,
        "eval_interval": -1,
        "no_log_console": True,
        "no_tqdm": True,
        "seed": SEED,
    }
    counter = register_optimizer_step_post_hook(lambda *_: steps.append(None))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "record").mkdir()
        names = [f"Client{client}" for client in range(workload.num_clients)]
        (Path(folder) / "data.json").write_text(json.dumps({"client_names": names}))
        (Path(folder) / "info").write_text(json.dumps({"benchmark": "bench_flgo"}))
        model = flgo.convert_model(lambda: JoinedModel(workload))
        server = flgo.init(folder, algorithm=flgo_algorithm(stamps), option=options, model=model)
        start = copied(server.model.state_dict())
        server.run()
    counter.remove()
    check(len(stamps) == rounds, "FLGo runs its rounds")
    check(len(steps) == rounds * workload.clients_per_round * workload.num_steps, "FLGo takes the steps it claims")
    check(distance(server.model.state_dict(), start) > 0.0, "FLGo moves the model")
    return after_the_first(workload, stamps)


# Flower


def flower_client(name: str) -> Any:
    """Return a client that trains the received model with the plain loop."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(message: Message, context: Any) -> Message:
        loop = shared_loop(name)
        batches = loop.batches(int(context.node_config["partition-id"]))
        trained = loop.train(message.content["arrays"].to_torch_state_dict(), batches)
        metrics = MetricRecord({"num-examples": loop.workload.samples_per_client, "steps": trained.num_steps})
        content = RecordDict({"arrays": ArrayRecord(trained.state), "metrics": metrics})
        return Message(content=content, reply_to=message)

    return app


def flower_server(workload: Workload, rounds: int, stamps: list[float], steps: list[int], finals: list[Any]) -> Any:
    """Return a server that runs FedAvg, and notes when each round ended, each client's steps, and the result."""
    from flwr.app import ArrayRecord
    from flwr.serverapp import ServerApp
    from flwr.serverapp.strategy import FedAvg

    class StampedFedAvg(FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            answers = list(replies)
            steps.extend(answer.content["metrics"]["steps"] for answer in answers if not answer.has_error())
            merged = super().aggregate_train(server_round, answers)
            stamps.append(time.perf_counter())
            return merged

    app = ServerApp()

    @app.main()
    def main(grid: Any, context: Any) -> None:
        strategy = StampedFedAvg(
            fraction_train=(workload.clients_per_round + 0.5) / workload.num_clients,
            fraction_evaluate=0.0,
            min_train_nodes=workload.clients_per_round,  # of the fraction alone, not all are there in the first round
            min_available_nodes=workload.num_clients,
        )
        arrays = ArrayRecord(PlainLoop(workload).state)
        finals.append(strategy.start(grid, arrays, num_rounds=rounds))

    return app


def flower(workload: Workload, rounds: int) -> Measured:
    """Run FedAvg in Flower's simulation on Ray."""
    import ray
    from flwr.simulation import run_simulation

    stamps: list[float] = []
    steps: list[int] = []
    finals: list[Any] = []
    run_simulation(
        server_app=flower_server(workload, rounds, stamps, steps, finals),
        client_app=flower_client(workload.name),
        num_supernodes=workload.num_clients,
        backend_config={
            "init_args": {"num_cpus": FLOWER_ACTORS, "logging_level": logging.ERROR, "log_to_driver": False},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )
    ray.shutdown()
    time.sleep(RAY_LEAVES_S)
    (final,) = finals
    trainings = rounds * workload.clients_per_round
    check(steps == [workload.num_steps] * trainings, "Flower's clients take the steps they claim")
    moved = distance(final.arrays.to_torch_state_dict(), PlainLoop(workload).state)
    check(moved > 0.0, "Flower moves the model")
    return after_the_first(workload, stamps)


# The table


PEERS: dict[str, tuple[str, str, Callable[[Workload, int], Measured]]] = {
    "FLGo": ("flgo", "FLGo FedAvg, 1 thread", flgo),
    "Flower": ("flwr", f"Flower FedAvg on Ray, {FLOWER_ACTORS} actors", flower),
}


def installed() -> list[str]:
    """Return the peers of this environment; print the others."""
    found = []
    for name, (package, _, _) in PEERS.items():
        try:
            __import__(package)
        except ImportError as error:
            print(f"left out: {name} ({error})")
        else:
            found.append(name)
    return found


def quiet() -> None:
    """Keep the peers' own reports out of the table."""
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Training speed of other simulators against a plain PyTorch loop.")
    parser.add_argument("--workloads", default="W1", help="comma-separated; default: W1")
    parser.add_argument("--repeats", type=int, default=3, help="outer rounds; default 3")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of a peer's run, the first untimed; default 4")
    parser.add_argument("--smoke", action="store_true", help="a moment of the plain loop, without any peer")
    arguments = parser.parse_args()
    fix_process(is_timed=not arguments.smoke)
    quiet()
    peers = installed()
    names = arguments.workloads.split(",") if peers else []
    if arguments.smoke:
        peers, names = [], list(SMOKE)
    for name in names:
        workload = KNOWN[name]
        print(f"\n{name}: {workload.about}; median [min-max] of {arguments.repeats}")
        contenders = {PEERS[peer][1]: partial(PEERS[peer][2], workload, arguments.rounds) for peer in peers}
        loop = PlainLoop(workload)
        loop.run_round()
        results = alternate(partial(measured_loop, loop, LOOP_ROUNDS[name]), contenders, arguments.repeats)
        print(f"{'':<32}{'trainings/s':>12}   ratio to the plain loop")
        for label, measured in results.items():
            ratio = spread(ratios(measured, results[""]))
            print(f"{label or 'plain loop':<32}{statistics.median(rates(measured)):>12,.1f}   {ratio}", flush=True)


if __name__ == "__main__":
    main()
