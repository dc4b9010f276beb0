"""`interlude plot`, `report` and `trace` on the records of a run."""

import json

import pytest
from commands import assert_refused, files_under

from interlude.simulator.methods import METHODS
from interlude.simulator.methods.card import card_of


def test_plot_draws_what_applies_and_says_what_does_not(trained, cli, tmp_path):
    result = cli("plot", trained / "runs", "--out", tmp_path, "--formats", "svg")
    assert result.code == 0, result.err
    drawn = {name.removesuffix(".svg") for name in files_under(tmp_path)}
    assert {"accuracy_vs_time", "accuracy_vs_bytes", "time_to_accuracy", "efficiency", "staleness", "gantt"} <= drawn
    assert "scalability" not in drawn
    assert "skipped scalability: clients.count is 4 in all runs" in result.out


def test_plot_draws_one_kind_beside_the_runs(trained, cli):
    assert cli("plot", trained / "runs/tiny", "--kind", "gantt", "--window", "0:5", "--clients", 2).code == 0
    assert {"gantt.png", "gantt.svg"} <= set(files_under(trained / "runs/tiny"))


def test_table_is_printed_or_written(trained, cli, tmp_path):
    asked = ("table", trained / "runs", "--columns", "final_accuracy", "--labels", "mba=MBA")
    printed = cli(*asked)
    assert printed.out.startswith("| method | final accuracy |\n| --- | ---: |\n| fedavg |"), printed.err
    assert cli(*asked, "--format", "latex", "--out", tmp_path / "t.tex").code == 0
    assert r"\begin{tabular}{lr}" in (tmp_path / "t.tex").read_text()


def test_report_is_one_page_with_the_cards_and_the_command_that_made_it(trained, cli, tmp_path):
    result = cli("report", trained / "runs", "-o", tmp_path / "report.html", "--question", "Does 1 < 2?")
    assert result.code == 0, result.err
    page = (tmp_path / "report.html").read_text()
    assert card_of(METHODS["fedavg"]).title in page
    assert "Does 1 &lt; 2?" in page
    assert f"interlude report {trained}/runs -o" in page
    assert files_under(tmp_path).keys() == {"report.html"}


def test_trace_is_json_beside_the_run(trained, cli):
    result = cli("trace", trained / "runs/tiny/mba-s0")
    assert result.code == 0, result.err
    assert json.loads((trained / "runs/tiny/mba-s0.trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plot", "nowhere"], "nowhere: does not exist"),
        (["plot", "tiny.yaml"], "is not a directory"),
        (["plot", "empty"], "empty: holds no run directory"),
        (["plot", "runs", "--kind", "gant"], "did you mean 'gantt'?"),
        (["plot", "runs", "--kind", "scalability"], "scalability cannot be drawn: clients.count is 4 in all runs"),
        (["plot", "runs", "--formats", "jpg"], "formats are png, svg, pdf"),
        (["plot", "runs", "--style", "papr"], "did you mean 'paper'?"),
        (["plot", "runs", "--baseline", "fedavgg"], "did you mean 'fedavg'?"),
        (["plot", "runs", "--window", "9:3"], "--window"),
        (["plot", "runs", "--window", "90:95", "--kind", "gantt"], "within 0 to 10 s"),
        (["plot", "runs", "--target", "2"], "--target"),
        (["plot", "runs", "--out", "tiny.yaml"], "tiny.yaml"),
        (["table", "runs", "--format", "tex"], "formats are latex, markdown, csv"),
        (["table", "runs", "--columns", "final"], "did you mean 'final_accuracy'?"),
        (["table", "runs", "--methods", "mbo"], "labels are fedavg, mba"),
        (["table", "runs", "--labels", "mba"], "--labels: must be NAME=TEXT"),
        (["table", "runs", "--labels", "mba=fedavg"], "two methods are called 'fedavg'"),
        (["table", "runs", "--labels", "mba=$x", "--format", "latex", "--out", "t.tex"], "mathematics is $...$"),
        (["report", "runs", "-o", "empty"], "empty"),
        (["trace", "runs"], "holds 2 runs; name one"),
        (["trace", "empty"], "holds no run directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn_is_one_sentence_and_nothing_is_written(
    trained, cli, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs").symlink_to(trained / "runs")
    (tmp_path / "tiny.yaml").write_text("")
    before = files_under(trained)
    assert_refused(cli(*arguments), said)
    assert files_under(trained) == before
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "runs", "tiny.yaml"}
    assert not list((tmp_path / "empty").iterdir())


def test_a_summary_is_json_and_a_table(cli, trained):
    rows = json.loads(cli("summary", trained / "runs", "--json").out)
    assert [(row["point"], row["method"], row["seeds"]) for row in rows] == [("tiny", "fedavg", 1), ("tiny", "mba", 1)]
    assert all(0 < row["final_accuracy"] < 1 for row in rows)
    assert "final accuracy" in cli("summary", trained / "runs").out
