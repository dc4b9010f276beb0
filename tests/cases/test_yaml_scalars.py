"""Scalars mean what YAML 1.2's core schema says, wherever they stand; a boolean is no number, and keys are texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlude import load_scenario, load_scenarios
from interlude.simulator.errors import BadInputError
from interlude.simulator.formats.core_yaml import dump, load
from interlude.simulator.scenario.yaml_reader import read_yaml
from interlude.simulator.sweep import load_sweep, parse_flags


def value_at(scenario, field):
    node = scenario.resolved()
    for step in field.split("."):
        node = node[int(step)] if isinstance(node, list) else node[step]
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("016", 16), ("010", 10), ("089", 89), ("-012", -12), ("+12", 12), ("0o17", 15), ("0x1F", 31)),
        *(("1e-3", 0.001), ("5e-1", 0.5), ("5E+1", 50.0), ("1.", 1.0), (".5", 0.5), ("1e300", 1e300)),
        *(("true", True), ("TRUE", True), ("False", False), ("null", None), ("~", None), ("", None)),
        *((text, text) for text in ("on", "off", "yes", "no", "y", "n", "On", "NO", "tRue", "nuLL")),
        *((text, text) for text in ("1:30", "12:30:45", "1_000", "0b1", "2024-01-02", "1e", "e3", "0o8", "=")),
    ],
)
def test_a_plain_scalar_is_what_the_core_schema_says(text, value):
    assert load(text) == value
    assert type(load(text)) is type(value)
    assert load(f"[{{a: {text}}}]") == [{"a": value}]


@given(st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False)))
def test_every_number_that_python_writes_is_that_number(number):
    assert load(repr(number).replace("inf", ".inf")) == number


@given(st.text(st.sampled_from("0123456789+-._:eExobnaiftruFTnuloy~<=#,[ "), max_size=6))
def test_a_text_that_is_written_is_read_as_the_text(text):
    assert load(dump({text: text})) == {text: text}


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("clients.count=016", 16),
        ("clients.count=1e1", 10),
        ("seed=010", 10),
        ("training.optimizer.learning_rate=1e-3", 0.001),
        ("evaluate.every_s=5e-1", 0.5),
        ("world.compute.throughput_gflops=5e-1", {"distribution": "constant", "value": 0.5}),
        ("world.network.latency_ms=5e1", {"distribution": "constant", "value": 50.0}),
        ("world.arrival.gray.jitter_sigma=1e-1", 0.1),
        ("methods.0.proximal=1e-2", 0.01),
    ],
)
def test_an_override_and_a_file_read_a_number_alike(scenario_file, tmp_path, override, value):
    field, _, text = override.partition("=")
    assert value_at(load_scenario(scenario_file(), [override]), field) == value
    path = scenario_file({field: "PLACE"})
    path.write_text(path.read_text(encoding="utf-8").replace("PLACE", text), encoding="utf-8")
    assert value_at(load_scenario(path), field) == value


NUMBERS = [
    "seed",
    "clients.count",
    "clients.multimodal_fraction",
    "clients.modalities.gray",
    "data.partition.alpha",
    "data.test_fraction",
    "model.width",
    "world.arrival.gray.jitter_sigma",
    "world.arrival.gray.per_client.median_s",
    "world.compute.throughput_gflops",
    "world.compute.overhead_s",
    "world.network.uplink_mbps",
    "world.network.jitter_sigma",
    "world.faults.dropout_probability",
    "training.batch_size",
    "training.optimizer.learning_rate",
    "methods.0.proximal",
    "methods.0.unimodal_epochs",
    "methods.0.server.clients_per_round",
    "until.simulated_s",
    "until.versions",
    "evaluate.every_s",
    "evaluate.target_accuracy",
    "executor.group_size",
    "limits.memory_gb",
]


@pytest.mark.parametrize("field", NUMBERS)
def test_neither_a_boolean_nor_a_text_is_a_number(scenario_file, field):
    path = scenario_file()
    for text in ("true", "false", "on", "1:30", "1_000", "'1'"):
        with pytest.raises(BadInputError, match=field.rpartition(".")[2].removesuffix("_s")) as refused:
            load_scenario(path, [f"{field}={text}"])
        assert "given" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"world.compute.throughput_gflops": {"distribution": "lognormal", "median": True, "sigma": 1}}, "median"),
        ({"world.faults.outages": {"kind": "windows", "windows_s": [[True, 5]]}}, "windows_s.0.0"),
        (
            {"world.network.uplink_mbps": {"distribution": "quantiles", "probabilities": [0, 1], "values": [True, 2]}},
            "values.0",
        ),
        ({"training.optimizer.schedule": {"kind": "steps", "at_versions": [True], "factor": 0.5}}, "at_versions.0"),
        ({"methods": [{"name": "mba", "beta": True}]}, "methods.0.beta"),
        ({"methods": [{"name": "fedavg", "server": {"over_selection": True}}]}, "methods.0.server.over_selection"),
        ({"paper": {"source": "x", "accuracy": {"fedavg": True}}}, "paper.accuracy.fedavg"),
    ],
)
def test_a_boolean_is_no_number_at_any_depth(scenario_file, changes, field):
    with pytest.raises(BadInputError, match=f"{field}: must be a number; given true"):
        load_scenario(scenario_file(changes))


@pytest.mark.parametrize("given", ["yes", "on", "1", "0", "'true'", "1.0"])
def test_only_true_and_false_are_booleans(scenario_file, given):
    with pytest.raises(BadInputError, match=r"executor\.compile: must be true or false; given"):
        load_scenario(scenario_file(), [f"executor.compile={given}"])


def test_variants_keep_the_names_that_are_written(scenario_file):
    path = scenario_file()
    variants = "variants: {on: {clients.count: 3}, off: {clients.count: 5}, 0: {}, 010: {}, null: {}, 1e3: {}}\n"
    path.write_text(path.read_text(encoding="utf-8") + variants, encoding="utf-8")
    named = {scenario.name: scenario.clients.count for scenario in load_scenarios(path)}
    assert named == {"tiny-on": 3, "tiny-off": 5, "tiny-0": 4, "tiny-010": 4, "tiny-null": 4, "tiny-1e3": 4}


def test_keys_that_are_written_alike_are_given_twice(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("a:\n  on: 1\n  'on': 2\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="line 3: not valid YAML: the key 'on' is given twice"):
        read_yaml(path)


def test_columns_called_on_and_off_are_named_plainly(scenario_file, tmp_path):
    (tmp_path / "devices.csv").write_text("device,start,end\na,0,5\n", encoding="utf-8")
    on_and_off = f"{{kind: intervals, file: {tmp_path / 'devices.csv'}, on: start, off: end}}"
    scenario = load_scenario(scenario_file(), [f"world.availability={on_and_off}"])
    assert scenario.world.availability.on == "start"
    assert scenario.world.availability.off == "end"


def test_a_sweep_reads_the_same_numbers_in_its_block_and_flags(scenario_file):
    path = scenario_file()
    block = "sweep: {clients.count: [010, 20], training.optimizer.learning_rate: [5e-1, 1e-1]}\n"
    path.write_text(path.read_text(encoding="utf-8") + block, encoding="utf-8")
    names = [scenario.name for scenario in load_sweep(path, (), parse_flags(seeds="010")).scenarios]
    assert names == [f"tiny-clients-{count}_learning_rate-{rate}" for count in (10, 20) for rate in (0.5, 0.1)]
    assert parse_flags(seeds="010,08").seeds == [10, 8]
    path = scenario_file({"sweep": {"clients.count": [True, 2]}})
    with pytest.raises(BadInputError, match=r"clients\.count: must be a number; given true"):
        load_sweep(path)


def test_an_alias_is_a_value_of_its_own(scenario_file):
    path = scenario_file()
    delay = "{per_client: {distribution: constant, value_s: 1}}"
    variants = f"variants: {{a: {{world.arrival: {{gray: &same {delay}, color: *same}}}}}}\n"
    path.write_text(path.read_text(encoding="utf-8") + variants, encoding="utf-8")
    arrival = load_scenario(path, ["world.arrival.gray.per_client.value_s=9"]).resolved()["world"]["arrival"]
    assert [arrival[modality]["per_client"]["value_s"] for modality in ("gray", "color")] == [9.0, 1.0]
