"""A worker process of one thread: trains the chains that it receives until the connection closes.

`interlude.simulator.training.workers.pool` starts it with the descriptor of a socket. Parameters never travel: messages
name rows of a shared arena. A worker's results equal those of the sending process to the bit.
"""

import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch

from interlude.models.inputs import Samples
from interlude.models.network import Network
from interlude.models.packed import Packed
from interlude.simulator.arrays import Indices
from interlude.simulator.own_code.errors import is_users, sentence_of
from interlude.simulator.training.evaluation import EvaluationSets, evaluate_together
from interlude.simulator.training.executors.strategy import Strategy
from interlude.simulator.training.host import keep_freed_memory
from interlude.simulator.training.spec import TrainingSpec
from interlude.simulator.training.stacked.trainer import StackedTrainer
from interlude.simulator.training.task import LocalSteps, Task
from interlude.simulator.training.values import Named, Values
from interlude.simulator.training.workers.shared_memory import Arena, Place, looking_at, samples_in
from interlude.simulator.training.workers.shared_models import SharedModels


@dataclass(frozen=True)
class Setup:
    """The description of a run for a worker; two descriptors follow: the arena's and the samples'."""

    network: Network
    spec: TrainingSpec
    seed: int
    strategy: Strategy
    num_rows: int
    places: Mapping[str, Place]
    drawn: Samples | None = None
    """The training set, where it is drawn when it is indexed: a worker draws its own."""


SentValues = Mapping[Named, Any]
"""Named values as numpy arrays, which are cheap to send."""


class SentTask(NamedTuple):
    """A task whose parameters are rows of the arena."""

    client: int
    window: int
    version: int
    local_steps: tuple[LocalSteps, ...]
    samples: Indices
    received: int
    broadcast: SentValues
    result: int
    """The row for the trained parameters."""


class SentChain(NamedTuple):
    """A chain of tasks."""

    start: int
    tasks: tuple[SentTask, ...]


HERE = 0
"""The number of the first answer, which means that the process is up; a pool numbers its messages from 1."""


class Sender:
    """Puts tasks into the form of a message, in which what many of them share is sent once.

    Args:
        models: where the parameters are put.
    """

    def __init__(self, models: SharedModels) -> None:
        self._models = models
        self._rows: dict[int, tuple[torch.Tensor, int | None]] = {}
        """By the identity of a model, which is kept so that no other one gets it."""
        self._arrays: dict[int, Any] = {}
        self._steps: dict[tuple[LocalSteps, ...], tuple[LocalSteps, ...]] = {}

    def row_of(self, flat: torch.Tensor) -> int | None:
        """Return the row of a model [P]; None if no row is free."""
        if id(flat) not in self._rows:
            self._rows[id(flat)] = flat, self._models.row_of(flat)
        return self._rows[id(flat)][1]

    def task(self, task: Task, received: int, result: int) -> SentTask:
        """Return the message form of a task.

        Args:
            task: the task.
            received: the row of the model that its client downloaded.
            result: the row for its result.
        """
        steps = self._steps.setdefault(task.local_steps, task.local_steps)
        broadcast = {key: self._array(value) for key, value in task.broadcast.items()}
        return SentTask(task.client, task.window, task.version, steps, task.samples, received, broadcast, result)

    def _array(self, tensor: torch.Tensor) -> Any:
        """Return a tensor as a numpy array, which is cheap to send; always the same one for the same tensor."""
        return self._arrays.setdefault(id(tensor), tensor.numpy())


Done = list[list[tuple[float, SentValues]]]
"""Loss and report of each task of each chain."""


class Worker:
    """One run in a worker process.

    Args:
        setup: the run.
        arena: rows of parameters.
        samples: the shared block of samples.
    """

    def __init__(self, setup: Setup, arena_descriptor: int, samples_descriptor: int) -> None:
        layout = setup.network.layout
        tensors = looking_at(samples_descriptor, setup.places)
        self._network = setup.network
        self._arena = Arena(arena_descriptor, layout.size, layout.dtype, setup.num_rows)
        sets = samples_in(tensors)
        train = sets.pop("train") if setup.drawn is None else setup.drawn
        self._sets = EvaluationSets(**sets)
        self._trainer = StackedTrainer(setup.network, setup.spec, setup.seed, train, setup.strategy)
        self._stacks = setup.strategy.stacks

    def train(self, chains: list[SentChain]) -> Done:
        """Train chains; leaves the parameters in their rows and returns the rest."""
        received: dict[int, Packed] = {}
        tensors: dict[int, torch.Tensor] = {}
        trained = self._trainer.train([self._tasks(chain, received, tensors) for chain in chains])
        done: Done = []
        for chain, results in zip(chains, trained, strict=True):
            for task, result in zip(chain.tasks, results, strict=True):
                assert isinstance(result.parameters, Packed)
                self._arena.row(task.result).copy_(result.parameters.flat)
            done.append([(float(result.loss), as_arrays(result.report)) for result in results])
        return done

    def evaluate(self, rows: list[int]) -> Any:
        """Return the metrics of some rows."""
        return evaluate_together(self._network, [self._packed(row) for row in rows], self._sets, self._stacks)

    def _tasks(self, chain: SentChain, received: dict[int, Packed], tensors: dict[int, torch.Tensor]) -> list[Task]:
        """Return a chain's tasks; objects that the sender's tasks share are shared here, too."""

        def tensor(array: Any) -> torch.Tensor:
            return tensors.setdefault(id(array), torch.as_tensor(array))

        return [
            Task(
                client=sent.client,
                window=sent.window,
                version=sent.version,
                local_steps=sent.local_steps,
                samples=sent.samples,
                start=self._packed(chain.start),
                received=received.setdefault(sent.received, self._packed(sent.received)),
                broadcast={key: tensor(array) for key, array in sent.broadcast.items()},
            )
            for sent in chain.tasks
        ]

    def _packed(self, row: int) -> Packed:
        return Packed(self._network.layout, self._arena.row(row))


def as_arrays(values: Values) -> SentValues:
    """Return the message form of values."""
    return {key: value.numpy() for key, value in values.items()}


def as_tensors(sent: SentValues) -> dict[Named, torch.Tensor]:
    """Return values from their message form."""
    return {key: torch.as_tensor(array) for key, array in sent.items()}


def read(connection: Connection, messages: "SimpleQueue[tuple[str, int, Any] | None]") -> None:
    """Read messages as they arrive, so that a sender never waits for the answer to the previous one."""
    try:
        while True:
            kind, number, body = connection.recv()
            if kind == "setup":
                body = (body, [recv_handle(connection) for _ in range(2)])
            messages.put((kind, number, body))
    except (EOFError, OSError):
        messages.put(None)


def serve(connection: Connection) -> None:
    """Answer messages until the other side closes."""
    messages: SimpleQueue[tuple[str, int, Any] | None] = SimpleQueue()
    threading.Thread(target=read, args=(connection, messages), daemon=True).start()
    worker: Worker | None = None
    connection.send((HERE, True, None))
    while (message := messages.get()) is not None:
        kind, number, body = message
        try:
            if kind == "setup":
                setup, descriptors = body
                worker = Worker(pickle.loads(setup), *descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                continue
            assert worker is not None
            answer = getattr(worker, kind)(pickle.loads(body))
        except Exception as error:
            sentence = sentence_of(error) if is_users(error) else f"a worker process failed: {sentence_of(error)}"
            connection.send((number, False, (sentence, traceback.format_exc())))
        else:
            connection.send((number, True, answer))


def main() -> None:
    """Run a worker process; it ends when the other side closes the connection, and not by a signal to all processes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_freed_memory()
    with suppress(BrokenPipeError, ConnectionResetError):
        serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
