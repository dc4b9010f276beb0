"""A timeline that a test has changed, as the accounts read it."""

import pandas as pd
import pyarrow as pa

from interlude.simulator.federation.accounting.rows import Rows
from interlude.simulator.federation.timeline import SCHEMA


def rows_of(timeline: pd.DataFrame) -> Rows:
    """Return the rows of a timeline, in its order."""
    return Rows.of(pa.Table.from_pandas(timeline, SCHEMA, preserve_index=False))
