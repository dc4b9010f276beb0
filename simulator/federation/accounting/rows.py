"""Rows of the timeline as columns of numbers: made once for each table, for all that check or count them."""

from dataclasses import dataclass, fields
from typing import Final, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from interlude.simulator.arrays import Floats, Indices
from interlude.simulator.federation.timeline import Activity, Outcome

ACTIVITIES: Final[tuple[Activity, ...]] = get_args(Activity)
"""The activities in the order of their codes."""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
"""The outcomes in the order of their codes."""

Mask = npt.NDArray[np.bool_]
"""Of each row whether it is meant, [R]."""
Codes = npt.NDArray[np.uint8]
"""Places in a tuple of names."""
Numbers = npt.NDArray[np.int32]
"""As the timeline has them: arrays that are gathered row by row are quicker where they are narrow."""


@dataclass(frozen=True, eq=False)
class Rows:
    """R rows in some order, [R] each; see `interlude.simulator.federation.timeline.SpanRow`."""

    client: Numbers
    activity: Codes
    """Places in `ACTIVITIES`."""
    outcome: Codes
    """Places in `OUTCOMES`."""
    is_slow: Mask
    start_s: Floats
    end_s: Floats
    version: Numbers
    """0 where a row has none."""
    num_bytes: Indices
    flops: Indices
    staleness: Numbers
    """0 where a row has none."""

    @classmethod
    def of(cls, table: pa.Table) -> "Rows":
        """Return the rows of a table of `interlude.simulator.federation.timeline.SCHEMA`."""
        return cls(
            client=table["client"].to_numpy(),
            activity=_codes(table["activity"], ACTIVITIES),
            outcome=_codes(table["outcome"], OUTCOMES),
            is_slow=table["is_slow"].to_numpy(),
            start_s=table["start_s"].to_numpy(),
            end_s=table["end_s"].to_numpy(),
            version=pc.fill_null(table["version"], 0).to_numpy(),
            num_bytes=table["bytes"].to_numpy(),
            flops=table["flops"].to_numpy(),
            staleness=pc.fill_null(table["staleness"], 0).to_numpy(),
        )

    def __len__(self) -> int:
        return len(self.client)

    @property
    def seconds(self) -> Floats:
        """The length of each row in simulated seconds, [R]."""
        return self.end_s - self.start_s

    def take(self, places: Indices) -> "Rows":
        """Return the rows at some places, in their order."""
        return Rows(*(getattr(self, column.name).take(places) for column in fields(self)))

    def where(self, mask: Mask) -> "Rows":
        """Return the rows that are meant."""
        return self.take(np.flatnonzero(mask))

    def do(self, *activities: Activity) -> Mask:
        """Return which rows have one of some activities."""
        return np.array([activity in activities for activity in ACTIVITIES]).take(self.activity)

    def ended(self, outcome: Outcome) -> Mask:
        """Return which rows have an outcome."""
        return np.equal(self.outcome, OUTCOMES.index(outcome))


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> Codes:
    """Return the place of each name."""
    codes: Codes = pc.index_in(column, pa.array(names)).to_numpy().astype(np.uint8)
    return codes
