"""The executors of sweeps by name."""

from typing import Literal

from interlude.simulator.errors import BadInputError
from interlude.simulator.sweep.local import LocalProcesses
from interlude.simulator.sweep.ray_cluster import RayCluster
from interlude.simulator.sweep.runs import SweepExecutor


def executor_for(
    name: Literal["local", "ray"],
    jobs: int | None,
    ray_address: str | None,
    cpus_per_run: float,
    gpus_per_run: float,
    checkpoint_every_s: float,
) -> SweepExecutor:
    """Return the executor of a sweep.

    Raises:
        BadInputError: for a Ray address without Ray.
    """
    if name == "ray":
        return RayCluster(ray_address, cpus_per_run, gpus_per_run, jobs, checkpoint_every_s)
    if ray_address is not None:
        raise BadInputError(f"--ray-address: needs --executor ray; given '{ray_address}' with --executor local")
    return LocalProcesses(jobs, checkpoint_every_s)
