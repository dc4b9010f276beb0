"""Options at their edges: a number that is not finite or has no end, a path that no file system holds."""

import pytest

from interlude.simulator.errors import BadInputError, InterludeError

ENDLESS = "9" * 5_000

NUMBERS = {
    ("run", "--checkpoint-every"): ("inf", "-inf", "nan", "1e300", "-1", "x", ENDLESS),
    ("run", "--workers"): ("0", "-1", "1.5", "nan", "100000", ENDLESS),
    ("run", "--seed"): ("-1", "1e3", "nan", str(2**63), ENDLESS),
    ("check", "--seed"): ("-1", str(2**63), ENDLESS),
    ("sweep", "--jobs"): ("0", "nan", "100000", ENDLESS),
    ("sweep", "--checkpoint-every"): ("inf", "nan", "1e300"),
    ("sweep", "--cpus-per-run"): ("nan", "inf", "-1", "1e9"),
    ("sweep", "--gpus-per-run"): ("nan", "inf", "-1", "1e9"),
    ("sweep", "--seeds"): ("-1", "1.5", "nan", "1_0", ENDLESS),
    ("sweep", "--clients"): ("0", "1e1", "1_0", ENDLESS),
    ("plot", "--clients"): ("0", "100000000", ENDLESS),
    ("plot", "--target"): ("nan", "inf", "-1", "2"),
    ("plot", "--window"): ("nan:nan", "0:inf", "-1:3", "5:1", "1:2:3", ":"),
    ("report", "--target"): ("nan", "2"),
    ("calibrate", "--seconds"): ("nan", "inf", "-1", "0"),
}


@pytest.mark.parametrize(("command", "option"), NUMBERS, ids=map(" ".join, NUMBERS))
def test_a_number_out_of_bounds_is_refused(refusal, scenario_file, command, option):
    path = scenario_file()
    for number in NUMBERS[command, option]:
        assert option in refusal(command, path, f"{option}={number}")


PATHS = {
    "endless": "x" * 5_000,
    "too long a name": "x" * 300,
    "endless folders": "a/" * 3_000,
    "not UTF-8": "\udcff",
    "a NUL character": "a\0b",
    "empty": "",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_a_path_that_cannot_be_is_refused(refusal, scenario_file, path):
    scenario = scenario_file()
    refusal("check", path)
    refusal("check", scenario, "--data-dir", path)
    refusal("run", scenario, "--runs", path, "--timing-only")
    refusal("sweep", scenario, "--seeds", "0", "--runs", path)
    refusal("plot", path)
    refusal("plot", scenario.parent, "--out", path)
    refusal("report", scenario.parent, "-o", path)
    refusal("trace", path)
    refusal("trace", scenario.parent, "-o", path)


@pytest.mark.parametrize("word", [PATHS["endless"], PATHS["not UTF-8"], "\x1b[31m", "a\nb"])
def test_any_word_is_answered_with_one_short_sentence(refusal, scenario_file, word):
    scenario = scenario_file()
    refusal(word)
    refusal("explain", word)
    refusal("list", word)
    refusal("check", scenario, "--set", word)
    refusal("check", scenario, "--set", f"methods.0.name={word}")
    refusal("check", scenario, "--device", word)
    refusal("sweep", scenario, "--methods", word)
    refusal("data", "prepare", word)
    refusal("plot", scenario.parent, "--kind", word)
    refusal("plot", scenario.parent, "--style", word)


def test_a_home_directory_is_found_where_the_shell_did_not(refusal, scenario_file, monkeypatch):
    monkeypatch.setenv("HOME", str(scenario_file().parent))
    assert "seed" in refusal("check", "~/tiny.yaml", "--set", "seed=x")


def test_a_long_sentence_keeps_its_beginning_and_its_end():
    sentence = str(BadInputError(f"tiny.yaml: clients.count: {'given ' * 1_000}; did you mean 'count'?"))
    assert len(sentence) <= 380
    assert sentence.startswith("tiny.yaml: clients.count: ")
    assert sentence.endswith("; did you mean 'count'?")
    assert str(InterludeError("short")) == "short"
