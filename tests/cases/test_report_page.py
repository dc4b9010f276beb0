"""The page about a sweep: what leads it, what its sections say, that it fits a screen and the dark."""

from html.parser import HTMLParser

import pytest
from matplotlib.collections import LineCollection, PolyCollection
from written_runs import write_run

from interlude.analysis.bands import MOST_BANDS
from interlude.analysis.choices import Choices
from interlude.analysis.curves import accuracy_vs_time
from interlude.analysis.points import points
from interlude.analysis.report import report_page
from interlude.analysis.report.question import title_of
from interlude.analysis.report.words import in_words
from interlude.analysis.runs import by_scenario, common_name

BETAS, COUNTS, METHODS = (0.5, 2.0), (2, 4), ("fedavg", "mba")
SECTIONS = {
    "data": {"dataset": "cg-digits", "partition": {"kind": "dirichlet", "alpha": 2.0}, "path": None},
    "world": {
        "network": {"uplink_mbps": {"distribution": "constant", "value": 2.0}, "jitter_sigma": 0.0},
        "faults": {"dropout_probability": 0.0, "outages": None},
        "energy": None,
    },
    "training": {"batch_size": 32, "optimizer": {"name": "sgd", "learning_rate": 0.05, "schedule": None}},
}
LOGNORMAL = {"distribution": "lognormal", "median": 50.0, "sigma": 0.5}
LOGNORMAL_S = {"distribution": "lognormal", "median_s": 2.0, "sigma": 0.5}


def sweep_point(runs, beta, count, label):
    return write_run(
        *(runs, label, 0, 0.3 + (beta / 10 if label == "mba" else 0)),
        point=f"base-beta-{beta}-clients-{count}",
        changes={**SECTIONS, "clients": {"count": count, "modalities": None}},
        options={"beta": beta, "late_term": False, "anchor": None} if label == "mba" else {},
        origin={
            "methods": list(METHODS),
            "place": BETAS.index(beta),
            "swept": {"methods.mba.beta": beta, "clients.count": count},
        },
    )


class Page(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, text):
        super().__init__()
        self.path, self.tags, self.texts, self.boxes = [], [], [], []
        self.feed(text)
        self.style = "".join(self.of("style"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), [name for name, _, _ in self.path]))
        if tag in ("table", "img"):
            self.boxes.append([around.get("class") for _, around, _ in self.path])
        if tag not in ("meta", "img"):
            self.texts.append([tag, ""])
            self.path.append((tag, dict(attrs), self.texts[-1]))

    def handle_endtag(self, tag):
        self.path.pop()

    def handle_data(self, data):
        if self.path:
            self.path[-1][2][1] += data

    def of(self, tag):
        """Return the texts that stand directly in elements of a name."""
        return [text.strip() for name, text in self.texts if name == tag]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return [sweep_point(runs, beta, count, label) for beta in BETAS for count in COUNTS for label in METHODS]


@pytest.fixture(scope="module")
def page(records):
    return Page(report_page(records, [], "interlude report runs"))


def test_one_table_and_one_figure_across_points_lead(page):
    leading = [(tag, inside) for tag, _, inside in page.tags if tag in ("table", "img") and "details" not in inside]
    assert [tag for tag, _ in leading[:2]] == ["table", "img"]
    assert page.of("h2")[0] == "Across points"
    spans = page.of("span")
    assert spans[:4] == ["methods.mba.beta", "clients.count", "method", "seeds"]
    rows = spans[spans.index("down (MB)") + 1 :]
    assert rows[:12] == ["0.5", "2", "fedavg", "0.5", "2", "mba", "0.5", "4", "fedavg", "0.5", "4", "mba"]


def test_few_figures_are_shown_and_the_rest_is_folded_or_named(page):
    shown = [tag for tag, _, inside in page.tags if tag == "img" and "details" not in inside]
    folded = [tag for tag, _, inside in page.tags if tag == "img" and "details" in inside]
    assert (len(shown), len(folded)) == (1 + 2 * len(COUNTS), 2)  # scalability and sensitivity
    (left_out,) = (text for text in page.of("li") if text.startswith("left out"))
    assert "gantt" in left_out
    assert "interlude plot" in left_out


def test_title_and_question_say_what_the_sweep_varies(page):
    assert page.of("h1") == ["Interlude: base, 4 points of methods.mba.beta and clients.count"]
    (question,) = (text for text in page.of("p") if "How do" in text)
    assert "depend on methods.mba.beta (0.5, 2) and clients.count (2, 4)?" in question


def test_headings_say_the_swept_values(page):
    assert page.of("h2")[2:4] == ["Points with count 2", "Points with count 4"]
    points = [text for text in page.of("h3") if text.startswith("Point:")]
    assert points == [f"Point: beta {beta:g}, count {count}" for count in COUNTS for beta in BETAS]


def test_facts_say_clients_data_world_training_and_end_in_words(page):
    facts = dict(zip(page.of("dt"), page.of("dd"), strict=True))
    assert facts["data"] == "cg-digits, partition (dirichlet, alpha 2)"
    assert facts["world: network"] == "uplink 2 Mbit/s"
    assert facts["training"] == "batch size 32, optimizer (sgd, learning rate 0.05)"
    assert facts["until"] == "10 simulated s"
    assert "clients" in facts
    assert "world: energy" not in facts


def test_nothing_is_called_none_or_false(page):
    cells = [text for name, text in page.texts if name in ("td", "th", "span", "dd", "li", "p")]
    assert not [text for text in cells if "None" in text.split() or "False" in text.split()]


def test_every_table_and_figure_scrolls_in_a_box_of_its_own(page):
    assert len(page.boxes) > 2
    assert all("wide" in classes for classes in page.boxes)
    assert ".wide {\n  overflow-x: auto; max-width: 100%;" in page.style
    (viewport,) = (attributes for tag, attributes, _ in page.tags if attributes.get("name") == "viewport")
    assert viewport["content"] == "width=device-width, initial-scale=1"


def test_the_page_has_colours_for_the_dark_and_figures_keep_a_light_ground(page):
    assert "prefers-color-scheme: dark" in page.style
    assert "color-scheme: light dark" in page.style
    assert "figure img { width: 100%; min-width: 38rem; height: auto; background: #fff;" in page.style


def test_many_curves_have_bars_side_by_side_and_few_have_bands(tmp_path):
    labels = ["fedavg", "mba", "fedasync", "fedbuff"]
    runs = [write_run(tmp_path, label, seed, 0.5 + seed / 10) for label in labels for seed in range(3)]
    few = accuracy_vs_time([run for run in runs if run.label in labels[:MOST_BANDS]], Choices())
    many = accuracy_vs_time(runs, Choices())
    assert [isinstance(c, PolyCollection) for c in few.figure.axes[0].collections] == [True] * MOST_BANDS
    bars = many.figure.axes[0].collections
    assert [isinstance(c, LineCollection) for c in bars] == [True] * len(labels)
    many.figure.draw_without_rendering()
    where = [bar.get_transform().transform(bar.get_segments()[0])[0, 0] for bar in bars]
    assert where == sorted(set(where))
    assert "Bars side by side" in many.caption
    assert "Bars" not in few.caption


def test_what_is_unknown_is_not_drawn_and_what_is_censored_is_open(tmp_path):
    """Of runs that merge nothing, the staleness is unknown; a target never reached is a bound."""
    target = {"evaluate": {"target_accuracy": 0.45}}
    runs = [write_run(tmp_path, "mba", point=f"base-{at}", final=at / 10, changes=target) for at in (4, 5)]
    accuracy, time = points(runs, Choices()).figure.axes
    assert [line.get_xdata().tolist() for line in accuracy.get_lines() if line.get_marker() == "o"] == [[0.4, 0.5], []]
    (filled, bound) = (line for line in time.get_lines() if line.get_marker() == "o")
    assert (bound.get_xdata().tolist(), bound.get_markerfacecolor()) == ([10.0, 10.0], "white")  # of two evaluations
    assert bound.get_zorder() > filled.get_zorder()
    for run in runs:
        run.metrics = run.metrics[run.metrics["metric"] != "accuracy"]
    runs[0].timeline = runs[0].timeline.assign(staleness=2.0)
    _, staleness = points(runs, Choices()).figure.axes
    assert [line.get_xdata().tolist() for line in staleness.get_lines() if line.get_marker() == "o"] == [[2.0], []]


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["demo-beta-0.5", "demo-beta-0.25"], "demo-beta"),
        (["grid-2", "grid-24"], "grid"),
        (["phones", "phones-bad"], "phones"),
        (["phonetic", "phones"], ""),
    ],
)
def test_a_common_name_ends_with_a_word(names, common):
    assert common_name(names) == common


def test_scenarios_that_no_sweep_made_are_titled_by_their_common_words(tmp_path):
    records = [write_run(tmp_path, "mba", point=f"base-{name}") for name in ("slow", "slower")]
    assert title_of(by_scenario(records)) == "base, 2 scenarios"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"kind": "per_round", "per_client": LOGNORMAL_S}, "per round, lognormal, median 2 s, sigma 0.5"),
        ({"latency_ms": LOGNORMAL}, "latency (lognormal, median 50 ms, sigma 0.5)"),
        ({"on_miss": "wait", "miss_probability": 0.0}, "miss probability 0"),
        ({"compile": False, "shuffle": True, "schedule": None}, "compile off, shuffle on"),
        ({"windows_s": [[10, 20], [30, 40]]}, "windows ((10, 20), (30, 40)) s"),
    ],
)
def test_sections_in_words(section, words):
    assert in_words(section) == words
