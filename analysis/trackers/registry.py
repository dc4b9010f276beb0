"""The trackers by name."""

from importlib.util import find_spec
from pathlib import Path

from interlude.analysis.trackers.interface import Tracker
from interlude.simulator.errors import BadInputError, nearest, shown
from interlude.simulator.importing import ImportTable

TRACKERS: ImportTable[type[Tracker]] = ImportTable(
    {
        "tensorboard": "interlude.analysis.trackers.tensorboard:TensorBoard",
        "wandb": "interlude.analysis.trackers.wandb:WandB",
        "mlflow": "interlude.analysis.trackers.mlflow:MLflow",
        "trackio": "interlude.analysis.trackers.trackio:Trackio",
        "csv": "interlude.analysis.trackers.csv:CSV",
    }
)
_PACKAGES = {"mlflow": ("mlflow", "sqlalchemy"), "csv": ()}
"""What a tracker needs, where that is not one package of its name."""


def tracker_of(name: str, directory: Path | None = None, option: str = "--to") -> Tracker:
    """Return a tracker.

    Args:
        name: a key of `TRACKERS`.
        directory: where its files go; None: ``tracked/<name>``.
        option: what named it, for errors.

    Raises:
        BadInputError: for an unknown name, and for a tracker that is not installed; names the extra.
    """
    if name not in TRACKERS:
        raise BadInputError(
            f"{option}: unknown tracker {shown(name)}; trackers are {', '.join(TRACKERS)}{nearest(name, TRACKERS)}"
        )
    directory = directory or Path("tracked") / name
    if directory.exists() and not directory.is_dir():
        raise BadInputError(f"{directory}: is not a directory, so no tracker can write there")
    for package in _PACKAGES.get(name, (name,)):
        if find_spec(package) is None:  # not imported: trackio reads its folder's name when it is
            raise BadInputError(
                f"{option} {name}: needs the package {package}; install it with: pip install 'interlude[{name}]'"
            )
    make: type = TRACKERS[name]
    made: Tracker = make(directory)
    return made
