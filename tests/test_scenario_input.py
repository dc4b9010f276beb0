"""Bad input gets one sentence: the file, the field, what was given, what is allowed. Good input comes back equal."""

import datetime
import math
import os
from collections.abc import Iterator
from itertools import pairwise

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interlude.simulator.errors import BadInputError
from interlude.simulator.methods import METHODS
from interlude.simulator.scenario.loading import load_scenario, parse_scenario
from interlude.simulator.scenario.yaml_reader import read_yaml


def sentence_about(path, overrides=()):
    """Return the one sentence with which a scenario file is refused."""
    with pytest.raises(BadInputError) as caught:
        load_scenario(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_says(path, *parts):
    message = sentence_about(path)
    assert message.startswith(str(path))
    for part in parts:
        assert part in message


def test_the_small_scenario_is_valid(scenario_file):
    assert load_scenario(scenario_file()).clients.count == 4


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        # wrong type
        ("clients.count", "many", ["'many'", "integer"]),
        ("clients.count", 2.5, ["2.5", "integer"]),
        ("until.simulated_s", [30], ["[30]", "number"]),
        ("model.width", None, ["None", "integer"]),
        ("world", [1], ["[1]", "mapping"]),
        ("world.network", 5, ["5", "mapping"]),
        ("methods", "fedavg", ["'fedavg'"]),
        ("name", 3, ["3", "string"]),
        ("name", "../escape", ["'../escape'", "pattern"]),
        # out of range
        ("clients.count", 0, ["0", "greater than 0"]),
        ("clients.count", -3, ["-3", "greater than 0"]),
        ("seed", -1, ["-1", "greater than or equal to 0"]),
        ("until.simulated_s", 0, ["given 0", "greater than 0"]),
        ("evaluate.every_s", -10, ["-10", "greater than 0"]),
        ("evaluate.target_accuracy", 1.5, ["1.5", "less than or equal to 1"]),
        ("training.optimizer.learning_rate", 0, ["given 0", "greater than 0"]),
        ("training.batch_size", 0, ["given 0", "greater than 0"]),
        ("data.partition.alpha", -2.0, ["-2.0", "greater than 0"]),
        ("data.test_fraction", 1.0, ["1.0", "less than or equal to 0.99"]),
        ("world.compute.throughput_gflops", 0, ["0", "positive"]),
        ("world.network.uplink_mbps", 0, ["0", "positive"]),
        ("world.network.downlink_mbps", -8, ["-8", "greater than or equal to 0"]),
        ("world.network.latency_ms", -1, ["-1", "greater than or equal to 0"]),
        ("world.faults.dropout_probability", 1.0, ["1.0", "less than 1"]),
        ("world.arrival.gray.per_client.median_s", -2.0, ["-2.0", "greater than 0"]),
        ("world.arrival.gray.jitter_sigma", -0.1, ["-0.1", "greater than or equal to 0"]),
        ("methods.0.proximal", -1, ["-1", "greater than or equal to 0"]),
        # neither NaN nor infinity is a number
        ("until.simulated_s", math.nan, ["nan", "finite"]),
        ("evaluate.every_s", math.inf, ["inf", "finite"]),
        ("world.network.latency_ms", math.nan, ["nan", "finite"]),
        ("world.compute.throughput_gflops", math.inf, ["inf", "finite"]),
        ("training.optimizer.learning_rate", math.nan, ["nan", "finite"]),
        ("data.partition.alpha", math.inf, ["inf", "finite"]),
        # numbers that arithmetic would not survive
        ("seed", 10**30, ["1000000000", "no number that can be computed with"]),
        ("until.versions", 2**63, ["no number that can be computed with", "9.2e+18"]),
        ("until.simulated_s", 1e300, ["1e+300", "to 1e+100"]),
        ("evaluate.every_s", 1e-300, ["1e-300", "from 1e-100"]),
        ("methods.0.proximal", 1e308, ["1e+308"]),
        ("model.width", 2**30, ["less than or equal to 1048576"]),
        ("world.network.jitter_sigma", 1e99, ["less than or equal to 10"]),
        (
            "world.network.uplink_mbps",
            {"distribution": "lognormal", "median": 1.0, "sigma": 1e3},
            ["values cannot be computed", "to inf"],
        ),
        # a time names its unit
        ("world.arrival.gray.per_client", 4, ["4", "value_s"]),
    ],
)
def test_a_bad_value_is_named_with_its_field_and_what_is_allowed(scenario_file, field, value, said):
    assert_says(scenario_file({field: value}), field, *said)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (
            "data.dataset",
            "cg-digit",
            [
                "unknown data set 'cg-digit'",
                "data sets are cg-digits",
                "'folder' or 'package.module:function'",
                "mean 'cg-digits'",
            ],
        ),
        ("clients.modalities", {"grey": 0.5}, ["unknown modality 'grey'", "mean 'gray'"]),
        ("clients.modalities", {"gray": 0, "color": 0}, ["no client would hold any modality"]),
        ("data.partition.kind", "dirichlett", ["'dirichlett'", "iid, dirichlet", "mean 'dirichlet'"]),
        ("model.encoder", "mlpp", ["'mlpp'", "mlp, conv4, conv1d, resnet18, text", "mean 'mlp'"]),
        ("model.encoder", {"gray": "mlp", "color": "con4"}, ["'con4'", "conv1d, resnet18, text", "mean 'conv4'"]),
        ("model.fusion", "concatt", ["'concatt'", "concat, late_sum", "mean 'concat'"]),
        ("methods.0.name", "fedavgg", ["unknown method 'fedavgg'", "fedavg, fedasync, fedbuff, mba", "mean 'fedavg'"]),
        ("methods.0.waiting", "opportunistc", ["all, first, opportunistic", "mean 'opportunistic'"]),
        (
            "methods.0.server",
            {"rule": "bufferd"},
            ["unknown rule 'bufferd'", "barrier, on_arrival, buffered", "mean 'buffered'"],
        ),
        (
            "methods.0.server",
            {"rule": "on_arrival", "staleness": {"function": "hing"}},
            ["unknown function 'hing'", "constant, polynomial, hinge", "mean 'hinge'"],
        ),
        (
            "world.compute.throughput_gflops",
            {"distribution": "lognorm", "median": 1, "sigma": 1},
            ["unknown distribution 'lognorm'", "pareto, empirical", "mean 'lognormal'"],
        ),
        ("world.arrival.gray.kind", "streem", ["unknown kind 'streem'", "per_round, stream", "mean 'stream'"]),
        ("world.arrival.gray.on_miss", "skpi", ["wait, skip, uni_modal", "mean 'skip'"]),
        ("training.optimizer.name", "adam", ["must be one of sgd", "'adam'"]),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones_and_the_nearest(scenario_file, field, value, said):
    parent = field.rpartition(".")[0]  # a union's error stands at the section that the name tells apart
    assert_says(scenario_file({field: value}), parent, *said)


@pytest.mark.parametrize(
    ("section", "key", "nearest"),
    [
        ("", "sed", "seed"),
        ("until.", "version", "versions"),
        ("evaluate.", "target_acuracy", "target_accuracy"),
        ("training.", "local_epoch", "local_epochs"),
        ("training.optimizer.", "momentun", "momentum"),
        ("world.", "fault", "faults"),
        ("world.network.", "jitter", "jitter_sigma"),
        ("world.compute.", "throughput_gflop", "throughput_gflops"),
        ("world.arrival.gray.", "miss_probabilty", "miss_probability"),
        ("world.arrival.gray.per_client.", "sigm", "sigma"),
        ("data.", "test_fractoin", "test_fraction"),
        ("data.partition.", "min_sample", "min_samples"),
        ("model.", "fuson", "fusion"),
        ("methods.0.", "waitng", "waiting"),
        ("methods.0.server.", "clients_per_rond", "clients_per_round"),
    ],
)
def test_an_unknown_key_is_answered_with_the_known_ones_and_the_nearest(scenario_file, section, key, nearest):
    assert_says(
        scenario_file({f"{section}{key}": 1}),
        f"{section}{key}: unknown key '{key}'",
        "known here",
        f"did you mean '{nearest}'",
    )


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("clinets", "clients"),
        ("method", "methods"),
        ("world.networks", "world.network"),
        ("world.network.uplink", "world.network.uplink_mbps"),
        ("training.optimizer.learning_rat", "training.optimizer.learning_rate"),
        ("evaluate.every", "evaluate.every_s"),
    ],
)
def test_a_misspelt_required_key_is_named_not_only_missed(scenario_file, wrong, right, removed):
    """A typo is answered with the nearest valid name also where the right key must be there."""
    assert_says(
        scenario_file({right: removed, wrong: 1}),
        f"'{wrong.rpartition('.')[2]}'",
        f"did you mean '{right.rpartition('.')[2]}'?",
    )


@pytest.mark.parametrize(
    "field",
    [
        *("name", "data", "model", "clients", "world", "training", "methods", "until", "evaluate"),
        *("data.dataset", "model.encoder", "clients.count", "evaluate.every_s", "training.optimizer"),
        # a cost that is missing is an error, never 0
        *("world.arrival", "world.compute", "world.network"),
        "world.arrival.gray.per_client",
        *("world.compute.throughput_gflops", "world.network.uplink_mbps", "world.network.downlink_mbps"),
        *("world.network.latency_ms", "training.optimizer.learning_rate"),
    ],
)
def test_what_is_missing_is_named(scenario_file, field, removed):
    assert_says(scenario_file({field: removed}), f"{field} is missing")


def test_a_missing_time_is_named_with_its_unit(scenario_file, removed):
    field = "world.arrival.gray.per_client"
    assert_says(scenario_file({f"{field}.median_s": removed}), f"{field}: 'median_s' is missing")


@pytest.mark.parametrize("missing", ["sample_period_s", "transfer_s"])
def test_a_stream_needs_its_period_and_its_transfer(scenario_file, missing):
    stream = {"kind": "stream", "sample_period_s": 0.1, "transfer_s": 1.0}
    del stream[missing]
    assert_says(scenario_file({"world.arrival.gray": stream}), f"world.arrival.gray.{missing} is missing")


def test_a_modality_without_an_arrival_model_is_named(scenario_file, removed):
    path = scenario_file({"world.arrival.color": removed})
    assert_says(path, "world.arrival: modality 'color' has no entry", "each of gray, color needs an arrival model")


def test_a_modality_without_an_encoder_is_named(scenario_file):
    assert_says(scenario_file({"model.encoder": {"gray": "mlp"}}), "model.encoder: modality 'color' has no entry")


@pytest.mark.parametrize(("name", "hint"), [("grey", "did you mean 'gray'"), ("audio", "gray, color")])
def test_an_unknown_modality_is_answered_with_the_data_sets(scenario_file, name, hint):
    path = scenario_file({f"world.arrival.{name}": {"per_client": {"distribution": "constant", "value_s": 1.0}}})
    assert_says(path, f"world.arrival: unknown modality '{name}'", "modalities are gray, color", hint)


def test_a_scenario_must_end(scenario_file):
    assert_says(scenario_file({"until": {}}), "until", "'simulated_s' or 'versions'")


def test_a_scenario_without_methods_is_refused(scenario_file):
    assert_says(scenario_file({"methods": []}), "methods", "at least 1")


@pytest.mark.parametrize("entry", ["fedavg", {}, {"beta": 1}, {"name": 3}, None])
def test_a_method_entry_must_have_a_name(scenario_file, entry):
    assert_says(scenario_file({"methods": [entry]}), "methods.0", "'name'", "fedavg, fedasync, fedbuff, mba")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:Mine", "cannot be imported"),
        ("interlude.simulator.methods.fedavg:NoSuchClass", "cannot be imported"),
        ("pathlib:Path", "not a method"),
        (":", "cannot be imported"),
        (".relative:Mine", "cannot be imported"),
    ],
)
def test_an_own_method_that_cannot_be_used_is_named(scenario_file, name, said):
    assert_says(scenario_file({"methods.0.name": name}), "methods.0.name", name, said)


def test_one_method_twice_needs_labels(scenario_file):
    assert_says(
        scenario_file({"methods": [{"name": "mba"}, {"name": "mba"}]}), "methods", "'mba' appears twice", "'label'"
    )
    labelled = scenario_file({"methods": [{"name": "mba"}, {"name": "mba", "label": "mba-2"}]})
    assert [method.run_label for method in load_scenario(labelled).methods] == ["mba", "mba-2"]


@pytest.mark.parametrize("partition", [{"kind": "iid"}, {"kind": "dirichlet", "alpha": 2.0}])
def test_more_clients_than_samples_is_named_when_the_scenario_is_read(scenario_file, partition):
    assert_says(scenario_file({"clients.count": 2000, "data.partition": partition}), "clients.count", "2000", "1347")


def test_a_file_that_could_be_read_for_ever_is_not_read(scenario_file, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    given = {"distribution": "empirical", "file": str(tmp_path / "pipe.csv"), "column": "a"}
    assert_says(scenario_file({"world.network.uplink_mbps": given}), "pipe.csv': it is no file")


def test_what_a_sentence_quotes_is_short_and_printable(scenario_file):
    for changes in ({"y" * 5_000: 1}, {"limits": {"z" * 5_000: 1}}, {"world.arrival.gray.kind": "a\nb\u202e"}):
        message = sentence_about(scenario_file(changes))
        assert message.isprintable()
        assert len(message) < 600


def test_merge_keys_are_read_and_keys_of_ones_own_go_first(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("a: &a {b: 1, c: 2}\nd: {<<: *a, c: 3}\n")
    assert read_yaml(path) == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}


@pytest.mark.parametrize("dataset", [["cg-digits"], {"name": "cg-digits"}, 3, True])
def test_a_data_set_that_is_not_a_name_is_refused(scenario_file, dataset):
    assert_says(scenario_file({"data.dataset": dataset}), "data.dataset", "cg-digits")


@pytest.mark.parametrize(("field", "value"), [("test_fraction", 0.001), ("test_fraction", 0.999), ("seed", 2**32)])
def test_a_split_that_cannot_be_made_is_named(scenario_file, field, value):
    """2 test samples, or 2 training samples, cannot show ten classes; scikit-learn's seeds have 32 bits."""
    assert_says(scenario_file({f"data.{field}": value}), f"data.{field}", str(value))


def test_an_empirical_distribution_whose_file_is_missing_is_named(scenario_file):
    given = {"distribution": "empirical", "file": "no/such.csv", "column": "mbps"}
    assert_says(
        scenario_file({"world.network.uplink_mbps": given}), "world.network.uplink_mbps", "cannot read 'no/such.csv'"
    )


LAUGHS = "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghij"))
"""A billion values in ten lines."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("# nothing but a remark\n", "is empty"),
        ("- a\n- b\n", "must be a mapping of sections, not a list"),
        ("just words\n", "not a str"),
        ("42\n", "not a int"),
        ("name: [a\n", "not valid YAML"),
        ("name: a\n\tseed: 1\n", "line 2: not valid YAML"),
        ("name: a\nseed: 1\nname: b\n", "line 3: not valid YAML: the key 'name' is given twice"),
        ("name: a\nclients: {count: 1, count: 2}\n", "the key 'count' is given twice"),
        ("name: !!python/object/apply:os.system ['true']\n", "line 1: not valid YAML"),
        ("name: !!python/object:interlude.simulator.errors.BadInputError {}\n", "not valid YAML"),
        ("name: !custom 3\n", "not valid YAML"),
        ("? [a, b]\n: 1\n", "a key must be a name"),
        ("? !!set {a}\n: 1\n", "not valid YAML"),
        ("name: *nowhere\n", "not valid YAML"),
        ("name: a\n---\nname: b\n", "not valid YAML"),
        ("seed: !!bool maybe\n", "not valid YAML"),
        ("seed: !!timestamp soon\n", "not valid YAML"),
        ("seed: !!int ''\n", "not valid YAML"),
        ("seed: 2024-13-45\n", "not valid YAML"),
        ("seed: " + 5000 * "9" + "\n", "not valid YAML"),
        ("a: " + 600 * "[" + "\n", "not valid YAML"),
        ("name: a\x00b\n", "not valid YAML"),
        ("1: 2\n", "missing"),
        ("a: &a [*a]\n", "line 1: not valid YAML: an alias stands inside what it names"),
        (LAUGHS, "holds more than 100,000 values with its aliases written out"),
        ("a: " + 101 * "[" + 101 * "]" + "\n", "nested deeper than 100 levels"),
        ("a: b\n" * 300_000, "larger than 1,000,000 bytes"),
        ("a: {<<: 3}\n", "not valid YAML"),
        ("name: !!binary 3\n", "not valid YAML"),
        ("name: !!python/name:os.system\n", "not valid YAML"),
        ("name: !!omap [a: 1]\n", "name: should be a valid string"),
        ('name: "\\ud800"\n', "name: should be a valid string"),
        ("data: &loop {dataset: cg-digits, partition: *loop}\n", "not valid YAML"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_file_that_is_not_a_scenario_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    assert_says(path, said)


def test_a_file_that_is_not_utf8_is_one_sentence(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: caf\xe9\n".encode("latin-1"))
    assert_says(path, "is not UTF-8 text (byte 9)")


def test_a_missing_file_a_directory_and_a_name_that_is_too_long_are_one_sentence(tmp_path):
    assert_says(tmp_path / "missing.yaml", "cannot be read: No such file or directory")
    assert_says(tmp_path, "cannot be read: Is a directory")
    assert_says(tmp_path / ("a" * 300), "cannot be read: File name too long")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("clients.count", "must look like key=value"),
        ("=3", "must look like key=value"),
        ("", "must look like key=value"),
        ("clients.count=[1", "not valid YAML"),
        ("seed=" + 600 * "[", "not valid YAML"),
        ("clients.count=", "clients.count"),  # nothing is not a number
        ("methods.7.name=mba", "positions 0 to 0"),
        ("methods.first.name=mba", "positions 0 to 0"),
        ("methods.-1.name=mba", "positions 0 to 0"),
        ("methods.1=mba", "positions 0 to 0"),
        ("name.x=1", "'name' is a value, not a section"),
        ("name.x.y=1", "into a value, not a section"),
        ("clients.cuont=3", "did you mean 'count'"),
        ("bogus.deep.key=3", "unknown key 'bogus'"),
    ],
    ids=lambda value: value[:30],
)
def test_an_override_that_leads_nowhere_is_one_sentence(scenario_file, override, said):
    assert said in sentence_about(scenario_file(), [override])


def test_overrides_reach_sections_lists_and_new_keys(scenario_file):
    overrides = [
        "clients.count=7",
        "methods.0.proximal=0.5",
        "methods.0.server.clients_per_round=3",  # a new section
        "world.faults.dropout_probability=0.25",  # another
        "world.arrival.gray.per_client={distribution: constant, value_s: 9}",
        "name=renamed",
        "clients.count=8",  # the last one counts
    ]
    scenario = load_scenario(scenario_file(), overrides)
    assert scenario.name == "renamed"
    assert scenario.clients.count == 8
    assert scenario.methods[0].proximal == 0.5
    assert scenario.methods[0].server.clients_per_round == 3
    assert scenario.world.faults.dropout_probability == 0.25
    assert scenario.resolved()["world"]["arrival"]["gray"]["per_client"]["value_s"] == 9


def test_an_override_replaces_a_whole_method(scenario_file):
    assert load_scenario(scenario_file(), ["methods.0={name: mba, beta: 2}"]).methods[0].beta == 2.0


def test_a_value_may_hold_an_equals_sign(scenario_file):
    assert "'a=b'" in sentence_about(scenario_file(), ["name=a=b"])


VARIANTS = [
    {},
    {"methods": [{"name": name} for name in METHODS]},
    {"methods": [{"name": "mba", "server": {"rule": "buffered", "size": 3}, "anchor": "class_mean", "label": "b"}]},
    {"methods": [{"name": "fedasync", "server": {"staleness": {"function": "hinge"}}}]},
    {"model.encoder": {"gray": "mlp", "color": "conv4"}},
    {"data.partition": {"kind": "iid"}, "until": {"versions": 3}},
    {
        "world.arrival.gray": {
            "kind": "stream",
            "sample_period_s": {"distribution": "gamma", "shape": 2, "mean": 0.1},
            "transfer_s": {"distribution": "exponential", "mean": 2},
            "queue_windows": 3,
            "on_miss": "absent",
            "miss_probability": 0.1,
        }
    },
    {"world.arrival.gray.per_client": {"distribution": "pareto", "shape": 2, "minimum_s": 1}},
    {"world.arrival.gray.per_client": {"distribution": "uniform", "low_s": 1, "high_s": 2}},
    {"world.arrival.gray.per_client": {"distribution": "weibull", "shape": 2, "scale_s": 1}},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_resolved_scenario_parses_back_to_an_equal_one(tmp_path, scenario_with, changes):
    scenario = parse_scenario(scenario_with(changes))
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(scenario.resolved()), encoding="utf-8")
    again = load_scenario(path)
    assert again == scenario
    assert again.resolved() == scenario.resolved()
    assert again.digest() == scenario.digest()


def test_a_resolved_scenario_with_a_csv_parses_back_to_an_equal_one(tmp_path, scenario_with):
    (tmp_path / "delays.csv").write_text("s\n1\n2\n5\n", encoding="utf-8")
    delays = {"distribution": "empirical", "file": str(tmp_path / "delays.csv"), "column": "s"}
    scenario = parse_scenario(scenario_with({"world.arrival.gray.per_client": delays}))
    assert parse_scenario(scenario.resolved()) == scenario


def test_the_digest_tells_scenarios_apart(scenario_with):
    digests = {parse_scenario(scenario_with(c)).digest() for c in ({}, {"seed": 1}, {"clients.count": 5}, VARIANTS[1])}
    assert len(digests) == 4


def test_options_of_a_methods_own_server_rule_need_not_name_the_rule(scenario_with):
    (method,) = parse_scenario(scenario_with({"methods": [{"name": "fedasync", "server": {"mixing": 0.3}}]})).methods
    assert method.server.rule == "on_arrival"
    assert method.server.mixing == 0.3


def test_the_scenario_of_a_run_holds_one_method_and_its_seed(scenario_with):
    scenario = parse_scenario(scenario_with({"methods": [{"name": "fedavg"}, {"name": "mba"}]}))
    run = scenario.for_run(scenario.methods[1], 7)
    assert [method.name for method in run.methods] == ["mba"]
    assert run.seed == 7
    assert scenario.seed == 0


def paths_of(node, path=()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from paths_of(child, (*path, key))


VALUES = [None, True, -1, 0, 1, 0.5, math.inf, math.nan, "x", "", [], {}, [1], [[1]], {"a": 1}, {1: 2}, 10**30, b"x"]
VALUES += [1e-300, 1e300, 1e-3, 0.999, datetime.date(2020, 1, 1)]


@given(data=st.data())
@settings(max_examples=300)
def test_any_single_mutation_parses_or_is_one_sentence(scenario_with, data):
    scenario = scenario_with({"world.faults.dropout_probability": 0.1, **VARIANTS[6], **VARIANTS[3]})
    *path, last = data.draw(st.sampled_from(list(paths_of(scenario))))
    parent = scenario
    for step in path:
        parent = parent[step]
    match data.draw(st.sampled_from(["drop", "rename", "retype"])):
        case "drop":
            del parent[last]
        case "rename" if isinstance(last, str):
            parent[data.draw(st.sampled_from([f"{last}x", last[:-1], 1, None]))] = parent.pop(last)
        case _:
            parent[last] = data.draw(st.sampled_from(VALUES))
    try:
        parse_scenario(scenario, "mutated.yaml")
    except BadInputError as error:
        sentence = str(error)
    else:
        return
    assert sentence.startswith("mutated.yaml: ")
    assert "\n" not in sentence
