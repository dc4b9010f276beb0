"""The data partition: its record and its figure."""

import pandas as pd
import pytest

from interlude.analysis.figures import draw
from interlude.analysis.partition import label_skew
from interlude.simulator.errors import BadInputError


def drawn(records):
    ((plot,), _) = draw(records, ["partition"])
    return plot.drawing


def test_label_skew_by_hand():
    # the whole: half and half; client 0 only class 0: 1/2 away, client 1 as the whole, client 2 only class 1
    counts = pd.DataFrame([[10, 0], [5, 5], [0, 10]])
    assert label_skew(counts) == pytest.approx((0.5 + 0 + 0.5) / 3)


def test_a_run_records_every_sample_once(timed):
    table = timed[0].partition
    assert list(table.columns) == ["client", "modalities", "label", "count"]
    assert table["count"].sum() == 1347
    assert table["count"].min() > 0
    assert sorted(table["client"].unique()) == [0, 1, 2, 3]
    assert set(table["modalities"]) == {"gray+color"}
    assert not table.duplicated(["client", "label"]).any()


def test_bars_are_the_recorded_numbers_coloured_by_modalities(make_runs):
    records = make_runs({"name": "incongruous", "clients.multimodal_fraction": 0.5})
    drawing = drawn(records)
    left, right, *_ = drawing.figure.axes
    sizes = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in left.patches}
    assert sizes == records[0].partition.groupby("client")["count"].sum().to_dict()
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == [
        "mean",
        "gray, color",
        "color",
        "gray",
    ]
    shares = right.images[0].get_array()
    assert shares.shape == (10, 4)
    assert shares.sum(axis=0).tolist() == pytest.approx([100] * 4)
    assert "2 with gray+color" in drawing.caption


def test_a_record_without_a_partition_says_so(make_runs):
    (record,) = make_runs({"name": "older"})
    (record.path / "partition.csv").unlink()
    with pytest.raises(BadInputError, match=r"partition cannot be drawn: .* has no partition.csv"):
        draw([record], ["partition"])
