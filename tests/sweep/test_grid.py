"""Which runs a sweep is."""

from pathlib import Path

import pytest

from interlude import load_scenario, load_scenarios
from interlude.simulator.errors import BadInputError
from interlude.simulator.sweep import Flags, load_sweep


def test_values_are_multiplied_and_points_are_called_after_them(scenario_file):
    sweep = load_sweep(scenario_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1], "model.width": [8, 16]}}))
    assert [(s.name, s.seed) for s in sweep.scenarios] == [
        (f"tiny-clients-{count}_width-{width}", seed) for count in (4, 8) for seed in (0, 1) for width in (8, 16)
    ]
    assert [(s.clients.count, s.model.width) for s in sweep.scenarios[:3]] == [(4, 8), (4, 16), (4, 8)]
    assert sweep.num_runs == 8
    assert sweep.parent_of_points(Path("runs")) == Path("runs/tiny")


def test_lists_under_zip_are_walked_through_side_by_side(scenario_file):
    block = {"zip": {"world.compute.throughput_gflops": [0.1, 0.2], "model.width": [8, 16]}, "seed": [0, 1]}
    sweep = load_sweep(scenario_file({"sweep": block}))
    assert [(s.name, s.seed, s.model.width) for s in sweep.scenarios] == [
        ("tiny-throughput_gflops-0.1", 0, 8),
        ("tiny-throughput_gflops-0.1", 1, 8),
        ("tiny-throughput_gflops-0.2", 0, 16),
        ("tiny-throughput_gflops-0.2", 1, 16),
    ]


def test_flags_replace_the_blocks_values_of_the_same_field(scenario_file):
    path = scenario_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1], "methods": ["mba"]}})
    sweep = load_sweep(path, (), Flags(clients=[5], seeds=[7], methods=["fedavg", "fedasync"]))
    (scenario,) = sweep.scenarios
    assert (scenario.name, scenario.seed, scenario.clients.count) == ("tiny-clients-5", 7, 5)
    assert [method.run_label for method in scenario.methods] == ["fedavg", "fedasync"]


def test_a_methods_option_is_reached_by_its_label_and_methods_are_chosen_by_label_then_name(scenario_file):
    methods = [{"name": "fedavg"}, {"name": "mba", "label": "ours"}, {"name": "mba", "label": "other"}]
    path = scenario_file({"methods": methods, "sweep": {"methods.ours.beta": [0.5, 2.0]}})
    sweep = load_sweep(path, (), Flags(methods=["mba", "fedcmi"]))
    assert [s.name for s in sweep.scenarios] == ["tiny-beta-0.5", "tiny-beta-2.0"]
    assert [method.run_label for method in sweep.scenarios[0].methods] == ["ours", "other", "fedcmi"]
    assert [s.methods[0].beta for s in sweep.scenarios] == [0.5, 2.0]


def test_same_ends_of_fields_and_odd_values_still_make_different_names(scenario_file):
    slow = {"distribution": "constant", "value_s": 9.0}
    block = {
        "world.network.uplink_mbps": [1, {"distribution": "lognormal", "median": 2, "sigma": 0.5}],
        "world.arrival.gray.per_client": [slow],
        "world.arrival.color.per_client": [slow],
    }
    assert [s.name for s in load_sweep(scenario_file({"sweep": block})).scenarios] == [
        "tiny-uplink_mbps-1_gray.per_client-constant-9.0_color.per_client-constant-9.0",
        "tiny-uplink_mbps-lognormal-2-0.5_gray.per_client-constant-9.0_color.per_client-constant-9.0",
    ]


def test_variants_are_points_too(scenario_file):
    path = scenario_file({"variants": {"few": {"clients.count": 3}, "many": {"clients.count": 6}}})
    sweep = load_sweep(path, (), Flags(seeds=[0, 1]))
    assert [(s.name, s.seed) for s in sweep.scenarios] == [(f"tiny-{v}", s) for v in ("few", "many") for s in (0, 1)]
    assert sweep.has_points


def test_every_shipped_sweep_is_one(pytestconfig):
    shipped = {
        path.stem: load_sweep(path).num_runs
        for path in sorted((pytestconfig.rootpath / "scenarios").rglob("*.yaml"))
        if "\nsweep:" in path.read_text()
    }
    assert shipped == {
        "asynchrony_dial": 80,
        "client_scaling": 120,
        "mba_readings": 156,
        "mba_readings_cgmnist": 156,
        "mba_readings_har": 78,
        "mba_readings_watch": 78,
        "mba_vs_asynchronous": 232,
        "mba_vs_synchronous": 18,
        "sensitivity_beta_gamma": 80,
    }


def test_the_worlds_of_the_asynchrony_dial_have_equal_means(pytestconfig):
    sweep = load_sweep(pytestconfig.rootpath / "scenarios/asynchrony_dial.yaml", (), Flags(seeds=[0]))
    for scenario in sweep.scenarios:
        world = scenario.world
        assert world.compute.throughput_gflops.mean_value == pytest.approx(0.07, rel=2e-3)
        assert world.network.uplink_mbps.mean_value == pytest.approx(2.5, rel=2e-3)
        assert world.network.downlink_mbps.mean_value == pytest.approx(10, rel=2e-3)
        assert [a.per_client.mean_value for a in world.arrival.values()] == pytest.approx([4, 4], rel=2e-3)


BAD_BLOCKS = {
    "no such field": ({"clinets.count": [1]}, "clinets: unknown key 'clinets'", "did you mean 'clients'?"),
    "no such key": ({"clients.cuont": [1]}, "clients.cuont: unknown key 'cuont'", "did you mean 'count'?"),
    "no such method": ({"methods.fedav.waiting": ["all"]}, "no method has the label 'fedav'", "mean 'fedavg'?"),
    "an unknown method": ({"methods": ["fedavgg"]}, "sweep.methods: unknown method 'fedavgg'", "mean 'fedavg'?"),
    "into a value": ({"seed.x": [1]}, "sweep.seed.x", "is a value, not a section"),
    "an empty list": ({"clients.count": []}, "sweep.clients.count: is an empty list"),
    "no list": ({"clients.count": 16}, "sweep.clients.count: must be a list of values", "given 16"),
    "a value out of range": ({"clients.count": [4, 0]}, "clients.count", "greater than 0; given 0"),
    "unequal lengths": ({"zip": {"clients.count": [4, 5], "seed": [1]}}, "2 of clients.count, 1 of seed"),
    "a value twice": ({"seed": [1, 1]}, "sweep.seed: 1 is given twice"),
    "a value twice, in disguise": ({"clients.count": [4, 4.0]}, "are the same scenario"),
    "a field twice": ({"seed": [1], "zip": {"seed": [2]}}, "sweep.seed: is given twice"),
    "a name": ({"name": ["a", "b"]}, "sweep.name: cannot be swept"),
    "nothing": ({}, "sweep: is empty"),
    "a list": ([1], "sweep: must map fields to lists"),
    "no methods": ({"methods": []}, "sweep.methods: is an empty list"),
}


@pytest.mark.parametrize("bad", BAD_BLOCKS)
def test_a_bad_block_is_one_sentence_and_nothing_is_written(cli, scenario_file, tmp_path, bad):
    block, *said = BAD_BLOCKS[bad]
    code, out, err = cli("sweep", scenario_file({"sweep": block}), "--runs", tmp_path / "runs")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(part in err for part in ["tiny.yaml", *said]), err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--clients", "16,x"], "--clients: must be whole numbers of at least 1"),
        (["--clients", "0"], "given '0'"),
        (["--seeds", ""], "--seeds: must be whole numbers of at least 0"),
        (["--seeds", "1,1"], "--seeds: 1 is given twice"),
        (["--methods", "fedavg,"], "--methods: must be names"),
        (["--methods", "fedavgg"], "--methods: unknown method 'fedavgg'"),
        (["--clients", "4", "--set", "clients.count=3"], "--set 'clients.count=3': the sweep varies clients.count"),
        ([], "has no 'sweep' block, and no --clients"),
        (["--seeds", "0", "--jobs", "0"], "--jobs"),
        (["--seeds", "0", "--device", "tpu"], "--device"),
        (["--seeds", "0", "--executor", "slurm"], "--executor"),
        (["--seeds", "0", "--ray-address", "a:1"], "--ray-address: needs --executor ray"),
        (["--seeds", "0", "--runs", "tiny.yaml"], "tiny.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_are_one_sentence_and_nothing_is_written(cli, scenario_file, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    scenario_file()
    code, out, err = cli("sweep", "tiny.yaml", *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_run_says_that_a_sweep_is_for_sweep_and_check_says_what_it_is(cli, scenario_file, tmp_path):
    path = scenario_file({"sweep": {"clients.count": [4, 8], "seed": [0, 1]}})
    code, _, err = cli("run", path, "--runs", tmp_path / "runs")
    assert code == 2
    assert f"sweep: describes many runs; 'interlude sweep {path}' runs them" in err
    code, out, _ = cli("check", path)
    assert code == 0
    assert all(part in out for part in ("tiny: a sweep of 4 runs", "tiny-clients-8", "0, 1"))
    assert not (tmp_path / "runs").exists()
    with pytest.raises(BadInputError, match="interlude sweep"):
        load_scenario(path)


def test_scenarios_without_a_sweep_are_read_as_before(scenario_file):
    assert [scenario.name for scenario in load_scenarios(scenario_file())] == ["tiny"]
