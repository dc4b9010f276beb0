"""A bad field gets one sentence: the file, the field, what was given, what is allowed."""

import math
import os

import pytest
from sentences import assert_says, sentence_about

from interlude.simulator.scenario.loading import load_scenario


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
        ("evaluate.target_accuracy", [0.5, 0], ["target_accuracy.1", "given 0", "greater than 0"]),
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
        ("seed", 10**30, ["1000000000", "is too large or too small a number"]),
        ("until.versions", 2**63, ["is too large or too small a number", "9.2e+18"]),
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
                "'folder', 'table', 'images', 'huggingface' or 'package.module:function'",
                "mean 'cg-digits'",
            ],
        ),
        ("data.partition.kind", "dirichlett", ["'dirichlett'", "iid, dirichlet", "mean 'dirichlet'"]),
        ("model.encoder", "mlpp", ["'mlpp'", "mlp, conv4, conv1d, resnet18, text", "mean 'mlp'"]),
        ("model.encoder", {"gray": "mlp", "color": "con4"}, ["'con4'", "conv1d, resnet18, text", "mean 'conv4'"]),
        ("model.fusion", "concatt", ["'concatt'", "concat, late_sum", "mean 'concat'"]),
        ("methods.0.name", "fedavgg", ["unknown method 'fedavgg'", "fedavg, fedasync, fedbuff", "mean 'fedavg'"]),
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
        ("training.optimizer.name", "adam", ["must be 'sgd'", "'adam'"]),
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


def test_a_scenario_must_end(scenario_file):
    assert_says(scenario_file({"until": {}}), "until", "'simulated_s'", "'versions'", "'accuracy'")


def test_a_scenario_without_methods_is_refused(scenario_file):
    assert_says(scenario_file({"methods": []}), "methods", "at least 1")


@pytest.mark.parametrize("entry", ["fedavg", {}, {"beta": 1}, {"name": 3}, None])
def test_a_method_entry_must_have_a_name(scenario_file, entry):
    assert_says(scenario_file({"methods": [entry]}), "methods.0", "'name'", "fedavg, fedasync, fedbuff")


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


def test_a_file_that_could_be_read_for_ever_is_not_read(scenario_file, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    given = {"distribution": "empirical", "file": str(tmp_path / "pipe.csv"), "column": "a"}
    assert_says(scenario_file({"world.network.uplink_mbps": given}), "pipe.csv': it is not a file")


def test_what_a_sentence_quotes_is_short_and_printable(scenario_file):
    for changes in ({"y" * 5_000: 1}, {"limits": {"z" * 5_000: 1}}, {"world.arrival.gray.kind": "a\nb\u202e"}):
        message = sentence_about(scenario_file(changes))
        assert message.isprintable()
        assert len(message) < 600


@pytest.mark.parametrize("dataset", [["cg-digits"], {"name": "cg-digits"}, 3, True])
def test_a_data_set_that_is_not_a_name_is_refused(scenario_file, dataset):
    assert_says(scenario_file({"data.dataset": dataset}), "data.dataset", "cg-digits")


@pytest.mark.parametrize(("field", "value"), [("test_fraction", 0.001), ("test_fraction", 0.999)])
def test_a_split_that_cannot_be_made_is_named(scenario_file, field, value):
    """2 test samples, or 2 training samples, cannot show ten classes."""
    assert_says(scenario_file({f"data.{field}": value}), f"data.{field}", str(value))


def test_an_empirical_distribution_whose_file_is_missing_is_named(scenario_file):
    given = {"distribution": "empirical", "file": "no/such.csv", "column": "mbps"}
    assert_says(
        scenario_file({"world.network.uplink_mbps": given}), "world.network.uplink_mbps", "cannot read 'no/such.csv'"
    )
