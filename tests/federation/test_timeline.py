"""The timeline by itself: rows in, tables and a digest out."""

import pytest

from interlude.simulator.federation.timeline import SCHEMA, SpanRow, Timeline

WAIT = SpanRow(0, "wait", "done", False, 1.0, 2.0, version=3, modality="gray")
UPLOAD = SpanRow(0, "upload", "done", False, 2.0, 6.0, version=3, num_bytes=80)


def many(count):
    return [SpanRow(i % 7, "train", "part", i % 2 == 0, float(i), i + 1.0, i, None, 0, 5) for i in range(count)]


def handed_on(*calls):
    """Return the tables and the digest of rows that are added in some calls."""
    tables = []
    timeline = Timeline(tables.append)
    for rows in calls:
        timeline.extend(rows)
    return tables, timeline.order_digest()


def test_a_row_has_the_columns_of_the_schema():
    (table,), _ = handed_on([UPLOAD])
    assert table.schema == SCHEMA
    assert [*table.to_pylist()[0].values()] == [*UPLOAD]
    assert [name.replace("num_", "") for name in SpanRow._fields] == SCHEMA.names


def test_tables_and_digest_do_not_depend_on_how_rows_are_grouped():
    rows = many(205_000)
    at_once, digest = handed_on(rows)
    in_days, same = handed_on(*(rows[i : i + 6] for i in range(0, len(rows), 6)))
    assert [len(table) for table in at_once] == [100_000, 100_000, 5_000]
    assert all(one.equals(other) for one, other in zip(at_once, in_days, strict=True))
    assert digest == same


@pytest.mark.parametrize(
    "change", [{"client": 1}, {"activity": "idle"}, {"outcome": "part"}, {"is_slow": True}, {"version": 4},
               {"modality": "color"}, {"staleness": 0}],
)  # fmt: skip
def test_the_digest_sees_who_did_what(change):
    assert handed_on([WAIT])[1] != handed_on([WAIT._replace(**change)])[1]


def test_the_digest_does_not_see_when():
    assert handed_on([WAIT])[1] == handed_on([WAIT._replace(start_s=0.5, end_s=9.0)])[1]


def test_spans_of_no_length_are_left_out_unless_they_moved_or_computed_something():
    empty = WAIT._replace(end_s=1.0)
    merge = SpanRow(0, "merge", "done", False, 6.0, 6.0, version=4, staleness=0)
    instant = UPLOAD._replace(end_s=2.0)
    (table,), _ = handed_on([empty, merge, instant])
    assert table.column("activity").to_pylist() == ["merge", "upload"]


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        (UPLOAD, "cut"),
        (WAIT, "done"),
        (UPLOAD._replace(outcome="part"), "cut"),
        (WAIT._replace(outcome="part"), "part"),
        (WAIT._replace(outcome="lost"), "cut"),
    ],
)
def test_the_end_of_the_run_cuts_transfers_and_what_would_be_lost_later(row, outcome):
    assert row.cut_at(4.0, 40, 0) == row._replace(end_s=4.0, num_bytes=40, outcome=outcome)
