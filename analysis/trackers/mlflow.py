"""MLflow: an experiment for each scenario, a run for each run; its step is simulated seconds, rounded.

The timestamp of a metric is its simulated millisecond. Without the variable MLFLOW_TRACKING_URI runs go to an SQLite
file, which needs no server.
"""

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from interlude.analysis.trackers.interface import Entry
from interlude.analysis.trackers.points import Point

_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")
_MOST_METRICS, _MOST_PARAMETERS, _LONGEST = 1000, 100, 500  # of a request, of a value
_KEY = "interlude.key"
_STATUS = {"complete": "FINISHED", "failed": "FAILED"}


class MLflow:
    """A store of runs.

    Args:
        directory: where the SQLite file and the figures go.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        given = os.environ.get("MLFLOW_TRACKING_URI")
        uri = given or f"sqlite:///{directory.resolve()}/mlflow.db"
        self.how_to_open = f"mlflow ui --backend-store-uri {uri}"
        self._artifacts = None if given else (directory.resolve() / "artifacts").as_uri()
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # creating tables is no news
        self._entities: Any = import_module("mlflow.entities")
        self._client: Any = import_module("mlflow").MlflowClient(tracking_uri=uri)

    def open(self, entry: Entry) -> "StoredRun":
        """Return the writer of an entry: the run with its key, or a new one."""
        experiment = self._client.get_experiment_by_name(entry.group)
        where = experiment.experiment_id if experiment else self._client.create_experiment(entry.group, self._artifacts)
        found = self._client.search_runs([where], f"tags.`{_KEY}` = '{entry.key}'")
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            return StoredRun(self._client, self._entities, run_id)
        tags = {_KEY: entry.key, "scenario": entry.group, **entry.tags}
        run_id = self._client.create_run(where, start_time=0, tags=tags, run_name=entry.name).info.run_id
        parameters = [
            self._entities.Param(_NOT_IN_NAMES.sub("_", name), str(value)[:_LONGEST])
            for name, value in entry.config.items()
        ]
        for some in _parts(parameters, _MOST_PARAMETERS):
            self._client.log_batch(run_id, params=some)
        return StoredRun(self._client, self._entities, run_id)


class StoredRun:
    """Writes one run.

    Args:
        client: MLflow's.
        entities: its module of metrics.
        run_id: MLflow's name of the run.
    """

    def __init__(self, client: Any, entities: Any, run_id: str) -> None:
        self._client = client
        self._entities = entities
        self._run_id = run_id
        self._end_ms = 0
        self._status = "FINISHED"

    def add(self, points: Sequence[Point]) -> None:
        """Write metrics."""
        metrics = [
            self._metric(name, value, point.time_s, point.step)
            for point in points
            for name, value in {**point.values, "version": point.version}.items()
        ]
        self._end_ms = round(1000 * points[-1].time_s)
        for some in _parts(metrics, _MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=some)

    def conclude(self, results: Mapping[str, float], status: str) -> None:
        """Write the results as metrics of their own."""
        self._client.log_batch(
            self._run_id, metrics=[self._metric(f"result/{name}", value, 0.0, 0) for name, value in results.items()]
        )
        self._status = _STATUS.get(status, "KILLED")
        self._end_ms = self._end_ms or round(1000 * results.get("simulated_s", 0.0))

    def add_figure(self, name: str, png: bytes) -> None:
        """Write a figure as an artifact."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            path.write_bytes(png)
            self._client.log_artifact(self._run_id, str(path))

    def close(self) -> None:
        """End the run, at its last simulated second."""
        self._client.set_terminated(self._run_id, self._status, end_time=self._end_ms)

    def _metric(self, name: str, value: float, time_s: float, step: int) -> Any:
        return self._entities.Metric(_NOT_IN_NAMES.sub("_", name), value, round(1000 * time_s), step)


def _parts(values: Sequence[Any], length: int) -> Iterator[Sequence[Any]]:
    return (values[start : start + length] for start in range(0, len(values), length))
