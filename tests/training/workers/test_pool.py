"""Worker processes: their results are the ones of this process, and one that dies is done without."""

import gc

import pytest
import torch
from tiny_tasks import model_of, task_of, with_help

from interlude.simulator.errors import TrainingError
from interlude.simulator.training.executors import batched
from interlude.simulator.training.task import Trained
from interlude.simulator.training.workers import shared_models
from interlude.simulator.training.workers.pool import WorkerPool


def test_rows_of_the_arena_are_free_again_with_their_last_tensor(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    arenas = []
    arena_of = shared_models.Arena.__init__
    monkeypatch.setattr(
        shared_models.Arena, "__init__", lambda self, *given: arenas.append(self) or arena_of(self, *given)
    )
    with WorkerPool(1) as pool:
        helped = with_help(executor, pool)
        model = model_of(network)
        futures = [helped.submit(task_of(model, client)) for client in range(10)]
        kept = futures[9].result().parameters["head.a.weight"]
        for future in futures:
            future.result()
        del future, futures, model
        gc.collect()
        assert len(arenas[0]._slots) <= 1
        expected = executor.in_process.trainer.train([[task_of(model_of(network), 9)]])[0][0].parameters[
            "head.a.weight"
        ]
        torch.testing.assert_close(kept, expected)


def test_answers_of_an_earlier_run_are_dropped(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as pool:
        pool.wait()
        for seed in (1, 2, 3):
            model = model_of(network, seed)
            helped = with_help(executor, pool)
            futures = [helped.submit(task_of(model, client)) for client in range(10)]
            futures[0].result()  # and the run breaks off, with jobs still at the worker
            if seed == 3:
                results = [future.result() for future in futures]
            helped.close()
        expected = executor.in_process.trainer.train([[task_of(model, client)] for client in range(10)])
        for result, (other,) in zip(results, expected, strict=True):
            torch.testing.assert_close(result.parameters.flat, other.parameters.flat)


def test_a_client_that_starts_from_a_model_of_its_own_keeps_it_on_the_way_to_a_worker(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as pool:
        pool.wait()
        helped = with_help(executor, pool)
        received = model_of(network)
        own = [dict(model_of(network, seed=client + 2)) for client in range(10)]
        futures = [helped.submit(task_of(received, client, start=own[client])) for client in range(10)]
        results = [future.result() for future in futures]
        expected = executor.in_process.trainer.train(
            [[task_of(received, client, start=own[client])] for client in range(10)]
        )
        for result, (other,) in zip(results, expected, strict=True):
            torch.testing.assert_close(result.parameters.flat, other.parameters.flat)


def test_a_worker_that_dies_is_done_without(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as pool:
        pool.wait()
        helped = with_help(executor, pool)
        model = model_of(network)
        for alive in (True, True, False):
            futures = [helped.submit(task_of(model, client)) for client in range(10)]
            if not alive:
                pool.workers[0].process.kill()
            results = [future.result() for future in futures]
        expected = executor.in_process.trainer.train([[task_of(model, client)] for client in range(10)])
        for result, (other,) in zip(results, expected, strict=True):
            torch.testing.assert_close(result.parameters.flat, other.parameters.flat)
        assert not pool.workers


def test_what_a_worker_cannot_do_is_one_sentence(network, executor, monkeypatch):
    monkeypatch.setattr(batched, "_STEPS_BEFORE_HELP", 0)
    with WorkerPool(1) as pool:
        pool.wait()
        helped = with_help(executor, pool)
        first = [helped.submit(task_of(model_of(network), client)) for client in range(10)]
        [future.result() for future in first]
        futures = [helped.submit(task_of(model_of(network), client, samples=(900,))) for client in range(10)]
        helped.in_process.trainer.train = lambda chains: [
            [Trained(task.start, task.received) for task in chain] for chain in chains
        ]
        with pytest.raises(TrainingError, match=r"a worker process failed: IndexError: .*"):
            [future.result() for future in futures]
