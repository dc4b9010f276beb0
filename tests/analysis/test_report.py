"""The page: self-contained, accessible, and enough to run it all again."""

import copy
import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import yaml

from interlude.analysis.report import report_page, reproducing_scenario
from interlude.analysis.report.basis import basis_of
from interlude.analysis.summary import summarise_runs
from interlude.analysis.tables import difference_table, paper_table, summary_table
from interlude.simulator.scenario.loading import parse_scenario

CARDS = [("MBA <the method>", [("paper", "Ma & others")])]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], text, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(trained):
    return Page(report_page(trained, CARDS, "interlude report runs -o report.html"))


def test_the_page_is_well_formed_and_needs_no_network(page):
    assert page.open == []
    assert "http" not in re.sub(r"data:image/[^\"]*", "", page.text)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not page.all("script")
    assert not page.all("link")


def test_every_figure_has_a_text_and_headings_leave_no_level_out(page):
    images = page.all("img")
    assert len(images) == 10
    assert all(len(image["alt"]) > 40 for image in images)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.all("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}


def test_cards_are_escaped_and_versions_are_there(page, trained):
    assert "MBA &lt;the method&gt;" in page.text
    assert "Ma &amp; others" in page.text
    assert trained[0].info["packages"]["torch"] in page.text


def test_the_scenario_and_commands_on_the_page_make_the_very_runs_again(page, trained):
    shown = yaml.safe_load(unescape(re.findall(r"<pre[^>]*>(.*?)</pre>", page.text, re.DOTALL)[1]))
    assert shown == reproducing_scenario(trained)
    scenario = parse_scenario(shown)
    digests = {scenario.for_run(m, seed).digest() for m in scenario.methods for seed in range(3)}
    assert digests == {record.info["digest"] for record in trained}
    for seed in range(3):
        assert f"--seed {seed} --device cpu" in page.text
    assert "interlude report runs -o report.html" in page.text


def test_the_tables_have_a_row_per_method_and_per_difference(trained):
    summary = summary_table(trained)
    assert [row[0] for row in summary.rows] == ["fedavg", "mba"]
    assert all(len(row) == len(summary.header) for row in summary.rows)
    differences = difference_table(trained, "fedavg")
    assert [row[:2] for row in differences.rows] == [["mba", "3"]]
    assert len(differences.rows[0]) == len(differences.header)


def test_paired_differences_stand_beside_means_and_every_table_says_what_it_rests_on(trained, page):
    table = summary_table(trained, baseline="fedavg")
    place = table.header.index("final accuracy") + 1
    assert table.header[place] == "difference from fedavg, paired"
    finals = summarise_runs(trained).pivot(index="seed", columns="method", values="final_accuracy")
    mean = (finals["mba"] - finals["fedavg"]).mean()
    assert [row[place] == "" for row in table.rows] == [True, False]
    assert table.rows[1][place].startswith(f"{mean:+.3f}")
    basis = "Data set cg-digits; seeds 0 to 2; nothing was tuned; what of a method is a reconstruction is listed"
    assert page.text.count(basis) == len(page.all("table"))


def test_what_was_tuned_is_told_with_its_grid(trained):
    tuned = copy.copy(trained[0])
    field = "training.learning_rate"
    choice = {"fedavg": {"chosen": {field: 0.1}, "grid": {field: [0.01, 0.1]}, "seeds": [7]}}
    tuned.info = {**tuned.info, "origin": {**tuned.origin, "tuned": choice}}
    assert "; tuned on the validation part: fedavg (learning rate 0.1 of 0.01, 0.1); " in basis_of([tuned])
    elsewhere = copy.copy(tuned)
    choice = {"fedavg": {**choice["fedavg"], "chosen": {field: 0.01}}}
    elsewhere.info = {**tuned.info, "origin": {**tuned.origin, "tuned": choice}}
    several = "fedavg (learning rate 0.1 of 0.01, 0.1), fedavg (learning rate 0.01 of 0.01, 0.1);"
    assert several in basis_of([tuned, elsewhere, tuned])


def test_several_scenarios_have_a_part_each_and_one_across(grid):
    page = Page(report_page(grid, [], "interlude report runs", question="Does it scale?"))
    assert "Does it scale?" in page.text
    for name in ("Scenario grid-2", "Scenario grid-4", "Across scenarios"):
        assert name in page.text


def test_a_timing_only_report_has_costs_and_no_accuracies(timed):
    page = Page(report_page(timed, [], "interlude report runs"))
    assert "the clock runs without training" in page.text
    assert "final accuracy" not in page.text
    assert len(page.all("img")) == 4


def test_published_numbers_stand_beside_those_of_the_runs(make_runs):
    changes = {
        "name": "published",
        "until": {"simulated_s": 4},
        "evaluate": {"every_s": 4},
        "paper": {"source": "A & B, Table 1", "accuracy": {"fedavg": 0.423, "bmsfed": 0.702}},
    }
    records = make_runs(changes, timing_only=False)
    ours = summarise_runs(records)["final_accuracy"].iloc[0]
    (fedavg, bmsfed) = paper_table(records).rows
    assert fedavg[:4] == ["fedavg", "42.3", f"{100 * ours:.1f}", f"{100 * ours - 42.3:+.1f}"]
    assert bmsfed[:3] == ["bmsfed", "70.2", "not run"]
    assert "Published: A &amp; B, Table 1" in report_page(records, [], "interlude report")


def test_without_published_numbers_there_is_no_such_table(trained, page):
    assert paper_table(trained) is None
    assert "Beside the paper" not in page.text
