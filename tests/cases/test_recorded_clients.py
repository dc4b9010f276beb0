"""`record.clients` writes the timeline of some clients only: every count, metric and invariant is that of all."""

import pytest

from interlude import parse_scenario, run_scenario
from interlude.analysis.figures import draw
from interlude.analysis.summary import summarise_runs
from interlude.analysis.trace import Excerpt, trace_events
from interlude.simulator.errors import BadInputError

METHODS = ({"name": "mba"}, {"name": "fedavg"})


@pytest.fixture(scope="module")
def runs(wild, tmp_path_factory):
    """Return the records of one failing world with devices' power, by how many clients were recorded."""

    def made(count):
        scenario = wild(*METHODS)
        scenario["world"]["energy"] = {"train_w": 4, "radio_w": 2, "idle_w": 1}
        scenario |= {} if count is None else {"record": {"clients": count}}
        where = tmp_path_factory.mktemp("runs")
        return run_scenario(parse_scenario(scenario), runs=where, device="cpu", timing_only=True)

    return {count: made(count) for count in (None, 2, 0)}


@pytest.mark.parametrize("count", [2, 0])
def test_the_timeline_holds_the_first_clients_and_the_counts_are_those_of_all(runs, count):
    for whole, part in zip(runs[None], runs[count], strict=True):
        kept = whole.timeline[whole.timeline["client"] < count].reset_index(drop=True)
        assert part.timeline.equals(kept.astype(part.timeline.dtypes))
        assert part.metrics.equals(whole.metrics)
        assert {**part.info["totals"], "host_s": 0} == {**whole.info["totals"], "host_s": 0}
    assert summarise_runs(runs[count]).equals(summarise_runs(runs[None]))


def test_the_sums_are_those_of_the_rows(runs):
    for record in runs[None]:
        spent, rows = record.info["totals"]["spent"], record.timeline
        merges, spans = rows[rows["activity"] == "merge"], rows[rows["activity"] != "merge"]
        for activity, own in spans.groupby("activity"):
            assert spent["device_s"][activity] == pytest.approx((own["end_s"] - own["start_s"]).sum())
            assert spent["bytes"].get(activity, 0) == own["bytes"].sum()
        assert (spent["merged"], spent["staleness"]) == (len(merges), merges["staleness"].sum())


def caption(records, kind):
    (plot,), _ = draw(records, [kind])
    return plot.drawing.caption


def test_figures_say_what_they_saw(runs):
    for kind in ("gantt", "staleness"):
        assert "hold clients 0 to 1 of" in caption(runs[2], kind)
        assert "hold clients" not in caption(runs[None], kind)
        with pytest.raises(BadInputError, match=r"no client's timeline: record\.clients is 0"):
            caption(runs[0], kind)
    shares = [caption(runs[count], "efficiency") for count in runs]
    assert len(set(shares)) == 1
    names = [event["args"]["name"] for event in trace_events(runs[2][0], Excerpt()) if event["name"] == "thread_name"]
    assert len(names) == 1 + 2


def test_a_section_that_says_nothing_leaves_a_scenario_what_it_was(wild):
    plain, empty = (parse_scenario({**wild(*METHODS), **more}) for more in ({}, {"record": {}}))
    assert plain.digest() == empty.digest()
    assert "record" not in plain.resolved()
