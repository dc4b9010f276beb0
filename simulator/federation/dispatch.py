"""What passes between the server and a client in one local round, and the spans of which a client's day is made."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple

from interlude.models.network import Parameters
from interlude.simulator.federation.timeline import Activity
from interlude.simulator.training.executors.future import Future
from interlude.simulator.training.task import Task, Trained
from interlude.simulator.training.values import Values

Role = Any
"""A client's role in one local round, chosen by the method; None for an ordinary client."""

NO_WEIGHTS: Final[tuple[str, ...]] = ()
"""The groups of a download without parameters: only the broadcast."""


@dataclass(slots=True, eq=False)
class Dispatch:
    """One client in one local round. Mutable: its time advances, and a resumed run restores what it received."""

    client: int
    window: int
    """Index of the client's window, which also addresses the round's random draws."""
    version: int
    """Version of the global model that the client downloads."""
    role: Role
    start_s: float
    received: Parameters
    """The model that the client downloads."""
    start: Parameters
    """Where its training starts: at that model, unless the client has parameters of its own."""
    broadcast: Values
    """The values that the server sends with the model, and those that the client has of its own."""
    fresh: Parameters | None = None
    """The model that the client downloaded in mid-round; None until it does."""
    latest_version: int = 0
    """The version that it downloaded last."""
    noticed_s: float = inf
    """When the server's urgent notice reaches the client, in simulated seconds; infinite without one."""
    mean_round_s: float = 0.0
    """Mean simulated seconds of the client's local rounds before this one; 0 in its first."""
    now_s: float = 0.0
    """The client's own time in simulated seconds, ahead of the clock while its day is simulated."""
    arrived: "PendingUpdate | None" = None
    """The update that has arrived at the server by then, on a day that nothing interrupts."""

    def __post_init__(self) -> None:
        self.now_s = self.start_s
        self.latest_version = self.version


class Download(NamedTuple):
    """What the server sends a client, as it is at one moment."""

    version: int
    model: Parameters
    broadcast: Values


class Payload(NamedTuple):
    """Content of an upload besides the last task's report and the number of samples."""

    groups: tuple[str, ...] | None = None
    """The parameter groups; unset: all that were trained in this local round."""
    num_bytes: int | None = None
    """Their encoded size in bytes; unset: dense."""
    message: Any = None
    """Plain values that the client tells the server at no bytes, by its role or its clock, never by trained values."""
    has_report: bool = True
    """Whether the report is sent; otherwise the client keeps it, and the server's memory only stands for that."""


ALL_TRAINED: Final = Payload()
"""An upload of every group that was trained, dense."""

NO_REPORT: Final = Payload(has_report=False)
"""An upload of every group that was trained; the report stays with the client, for its next local round."""

REPORT_ONLY: Final = Payload(num_bytes=0)
"""An upload of the report alone; the trained groups stay with the client."""


class PendingUpdate(NamedTuple):
    """An update as it arrives at the server; its values are computed when a merge needs them."""

    client: int
    version: int
    """The version that the client had received."""
    groups: tuple[str, ...]
    """The parameter groups sent: those that were trained."""
    num_samples: int
    trained: Future[Trained]
    num_bytes: int
    """The payload that arrived."""
    message: Any = None
    """What the client told besides."""


class Span(NamedTuple):
    """An activity on which a client intends to spend simulated time."""

    activity: Activity
    duration_s: float
    """Its undisturbed duration in simulated seconds."""
    modality: str | None = None
    """The modality waited for or trained alone; several are joined by '+'."""
    num_bytes: int = 0
    flops: int = 0
    is_slow: bool = False
    """Whether it is training in a straggler's slow mode."""
    update: PendingUpdate | None = None
    """The update that has arrived at the server once the span is over."""
    version: int | None = None
    """The model version that it works from; unset: that of the dispatch."""


MEETING: Final = Span("wait", 0.0)
"""Stands in a day where the clock must come up to the client's time; itself it takes no time and is not noted."""

BROKEN_OFF: Final = Span("upload", 0.0)
"""Ends a day that nothing interrupts but its upload, which broke off; itself it takes no time and is not noted."""

Steps = Iterable[Span]
"""A day: yields spans in order; `Dispatch.now_s` is set to the end of each before the next is requested."""

Submit = Callable[[Task], Future[Trained]]
"""What becomes of a training task."""

Ask = Callable[[Dispatch], Download]
"""What the server sends a client that asks for the global model now."""
