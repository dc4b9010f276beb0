"""Calibrating: what is measured, advised and refused. Never how fast: that belongs to a machine."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml

from interlude import parse_scenario
from interlude.simulator.calibrate import bench as calibrate_bench
from interlude.simulator.calibrate import cases
from interlude.simulator.calibrate.bench import Candidate, Measured
from interlude.simulator.calibrate.cases import built_in_cases, case_of, is_same_case
from interlude.simulator.calibrate.measure import Calibration, calibrate, yaml_of
from interlude.simulator.calibrate.speed import Speed, Timed, fitted, relative_error
from interlude.simulator.cli import calibration_tables as calibrate_table
from interlude.simulator.cli import main as command_line
from interlude.simulator.errors import BadInputError
from interlude.simulator.run.build import SEQUENTIAL, build_testbed
from interlude.simulator.training.host import has_bfloat16
from interlude.simulator.training.spec import ExecutorSpec

TINY_S = 0.05
STACKS = ["stacked in groups of 4", "stacked in groups of 16", "stacked in groups of 64"]


@pytest.fixture
def tiny(scenario_with):
    """Return a function from changes to a scenario of many clients, so that stacks of every size fill up."""

    def build(changes=None):
        return parse_scenario(scenario_with({"clients.count": 40, "training.window_samples": 40, **(changes or {})}))

    return build


@pytest.fixture
def cli(capsys):
    """Return a function that runs a command in this process: exit code, standard output and error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            command_line.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return run


def labels_of(calibration):
    return [one.candidate.label for one in calibration.measured]


def test_every_candidate_is_measured_at_a_positive_rate_and_the_first_is_the_reference(tiny):
    found = calibrate(tiny(), device="cpu", workers=1, seconds=TINY_S)
    assert labels_of(found) == [SEQUENTIAL, "looped", *STACKS]
    assert found.left_out == ()
    assert found.with_workers is None
    for one in found.measured:
        assert len(one.steps_per_s) == len(one.gflops) == len(one.ratios) == found.num_rounds
        assert min(*one.steps_per_s, *one.gflops, *one.ratios) > 0
    assert set(found.measured[0].ratios) == {1.0}
    assert found.speed.gflops > 0
    assert found.speed.flops_each > 0


def test_worker_processes_are_measured_beside_one_process(tiny):
    found = calibrate(tiny(), device="cpu", workers=2, seconds=TINY_S)
    assert found.with_workers.candidate.num_processes == 2
    assert found.with_workers.candidate.label in labels_of(found)[1:]
    assert min(found.with_workers.steps_per_s) > 0
    assert found.workers_gain > 0


def test_worker_processes_are_left_out_where_they_would_not_take_part(tiny, monkeypatch):
    monkeypatch.setattr(calibrate_bench, "_STEPS_WITHOUT_HELP", 10)
    found = calibrate(tiny(), device="cpu", workers=2, seconds=TINY_S)
    assert found.with_workers is None
    assert found.workers_gain == 1.0
    assert found.left_out == (("2 processes", "a round of all clients is one stack: nothing to share"),)


def test_what_a_run_takes_is_the_rules_choice_or_the_scenarios(tiny):
    def current(**executor):
        found = calibrate(tiny({"executor": executor}), device="cpu", workers=1, seconds=TINY_S)
        assert found.current.label in labels_of(found)
        return found.current.label, found.reason

    assert current() == (STACKS[2], "small products: many clients share every operation")
    assert current(strategy="looped") == ("looped", "as the scenario says")
    assert current(kind="sequential") == (SEQUENTIAL, "as the scenario says")
    assert current(strategy="stacked", group_size=7)[0] == "stacked in groups of 7"


def test_bfloat16_is_measured_where_it_is_asked_for(tiny):
    found = calibrate(tiny(), device="cpu", workers=1, seconds=TINY_S, bfloat16=True)
    if has_bfloat16():
        assert labels_of(found)[-2:] == ["looped, bfloat16", f"{STACKS[2]}, bfloat16"]
    else:
        assert ("bfloat16", "this machine's CPU does not compute in it") in found.left_out


def test_bfloat16_is_refused_where_it_would_end_the_process(tiny, monkeypatch):
    monkeypatch.setattr("interlude.simulator.training.executors.strategy.has_bfloat16", lambda: False)
    with pytest.raises(BadInputError, match=r"executor\.precision: 'bfloat16' crashes on this CPU"):
        calibrate(tiny({"executor": {"precision": "bfloat16"}}), device="cpu", workers=1, seconds=TINY_S)


def test_a_scenario_that_compiles_is_measured_without_unless_asked(tiny):
    found = calibrate(tiny({"executor": {"compile": True}}), device="cpu", workers=1, seconds=TINY_S)
    assert found.current.label == STACKS[2]
    assert found.left_out == ((f"{STACKS[2]}, compiled", "measured without compiling; --compile measures it"),)


def test_where_nothing_can_be_stacked_only_loops_are_measured(tiny):
    model = {"encoder": "conv4", "width": 8, "norm": "batch"}
    found = calibrate(tiny({"model": model}), device="cpu", workers=1, seconds=TINY_S, compiles=True)
    assert labels_of(found) == [SEQUENTIAL, "looped"]
    assert found.left_out == (("compiled", "batch statistics cannot be padded"),)


def test_few_clients_leave_out_sizes_that_make_the_same_groups(tiny):
    found = calibrate(tiny({"clients.count": 12}), device="cpu", workers=1, seconds=TINY_S)
    assert labels_of(found) == [SEQUENTIAL, "looped", STACKS[0], STACKS[2]]


def test_a_candidate_that_fails_is_left_out_with_the_reason(tiny, monkeypatch):
    warm_up = calibrate_bench.Contender.warm_up

    def fail(self):
        if self.candidate.label == STACKS[0]:
            raise RuntimeError("no such operation\nhere")
        if self.candidate.label == STACKS[1]:
            raise torch.OutOfMemoryError
        warm_up(self)

    monkeypatch.setattr(calibrate_bench.Contender, "warm_up", fail)
    found = calibrate(tiny(), device="cpu", workers=1, seconds=TINY_S)
    assert labels_of(found) == [SEQUENTIAL, "looped", STACKS[2]]
    assert dict(found.left_out) == {
        STACKS[0]: "fails here: no such operation here",
        STACKS[1]: "does not fit into the device's memory",
    }


def test_a_stack_that_takes_too_long_is_left_out_but_never_what_a_run_takes(tiny, monkeypatch):
    monkeypatch.setattr("interlude.simulator.calibrate.measure._first_impression", lambda *_: 1.0)
    found = calibrate(tiny(), device="cpu", workers=1, seconds=TINY_S)
    assert labels_of(found) == [SEQUENTIAL, "looped", STACKS[2]]
    assert {label for label, _ in found.left_out} == {STACKS[0], STACKS[1]}


SPEED = Speed(s_per_flop=1e-11, s_per_operation=2e-5, s_per_task=1e-3)


def found_with(*rates, spec=None):
    """Return a calibration of the reference at 100 steps/s, what a run takes at 200, and another at the given rates."""

    def measured(label, spec, rates):
        return Measured(Candidate(label, spec), tuple(rates), tuple(rates), tuple(rate / 100 for rate in rates))

    reference = measured(SEQUENTIAL, ExecutorSpec(kind="sequential"), [100.0] * len(rates))
    now = measured("looped", ExecutorSpec(strategy="looped"), [200.0] * len(rates))
    other = measured("other", spec or ExecutorSpec(strategy="stacked", group_size=64), rates)
    return Calibration("case", "cpu", now.candidate, "by rule", (reference, now, other), None, 1.0, (), SPEED, 0.04)


def test_clearly_faster_is_more_than_a_tenth_and_in_every_round():
    assert found_with(230, 240, 250).faster.candidate.label == "other"
    assert found_with(205, 240, 250).faster.candidate.label == "other"
    assert found_with(210, 215, 400).faster is None
    assert found_with(190, 240, 250).faster is None
    assert found_with(400, 400).faster is None


def test_the_advice_is_yaml_that_a_scenario_takes(scenario_with):
    specs = [
        ExecutorSpec(strategy="stacked", group_size=64),
        ExecutorSpec(strategy="looped", precision="bfloat16"),
        ExecutorSpec(strategy="stacked", group_size=16, compile=True),
        ExecutorSpec(kind="sequential"),
    ]
    for spec in specs:
        advice = found_with(300, 300, 300, spec=spec).advice
        assert parse_scenario({**scenario_with(), **yaml.safe_load(advice)}).executor == spec
    assert yaml_of(specs[0]) == "executor: {strategy: stacked, group_size: 64}"
    assert found_with(100, 100, 100).advice == ""


def test_the_sentences_name_what_is_taken_what_is_faster_and_the_speed(scenario_with):
    said = list(calibrate_table.sentences(found_with(300, 300, 300)))
    assert said[0] == "A run takes: looped (by rule)."
    assert said[1].startswith("Clearly faster here: other.")
    compute = yaml.safe_load(said[-1])["world"]["compute"]
    assert compute == {"throughput_gflops": 100, "operations": {"flops_each": 2000000, "per_task": 50}}
    assert parse_scenario(scenario_with({"world.compute": compute})).world.compute
    assert "No other way is clearly faster" in list(calibrate_table.sentences(found_with(200, 200, 200)))[1]
    assert "Too few rounds" in list(calibrate_table.sentences(found_with(900)))[1]


def test_the_speed_of_a_host_is_found_from_trainings_that_differ_in_what_they_count():
    works = [(3_000_000, 900), (1_500_000, 100), (1_500_000, 600), (200_000, 40), (8_000_000, 60)]
    timed = [Timed(*work, SPEED.seconds(*work)) for work in works]
    found = fitted(timed)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(SPEED), rel=1e-6)
    assert relative_error(found, timed) < 1e-6
    assert (found.gflops, found.flops_each, found.per_task) == pytest.approx((100, 2e6, 50), rel=1e-6)


def test_a_host_is_timed_on_trainings_that_tell_its_speed_apart(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr("interlude.simulator.calibrate.speed.fitted", lambda timed: seen.append(timed) or SPEED)
    for fraction in (1.0, 0.0):
        calibrate(tiny({"clients.multimodal_fraction": fraction}), device="cpu", workers=1, seconds=TINY_S)
    for timed in seen:
        counts = np.array([(one.flops, one.operations, 1.0) for one in timed])
        assert np.linalg.matrix_rank(counts / counts.max(axis=0), tol=1e-3) == 3


def test_the_table_marks_what_is_taken_and_says_what_was_left_out():
    found = dataclasses.replace(found_with(300, 300, 300), left_out=(("compiled", "no compiler"),))
    title, rows = calibrate_table.table(found)
    assert title == "case on cpu: median of 3 rounds"
    assert [(row[0], row[-1]) for row in rows.cells] == [
        (SEQUENTIAL, ""),
        ("looped", "taken now"),
        ("other", "clearly faster"),
        ("compiled", "left out"),
    ]
    assert {len(row) for row in rows.cells} == {len(rows.header)}
    assert next(calibrate_table.sentences(found)) == "Left out: compiled (no compiler)."


def test_variants_that_differ_in_their_world_only_are_one_case(tiny):
    slow = tiny({"world.network.uplink_mbps": 0.1})
    assert is_same_case(tiny(), slow)
    assert not is_same_case(tiny(), tiny({"training.batch_size": 8}))


def test_a_case_has_the_scenarios_clients_and_the_built_in_ones_fill_every_stack(tiny):
    case = case_of(build_testbed(tiny()))
    assert len(case.windows) == len(case.modalities) == 40
    assert max(len(window) for window in case.windows) == 40
    assert {m: given.shape for m, given in case.inputs.items()} == {"gray": (1, 8, 8), "color": (3, 8, 8)}
    for built_in in built_in_cases():
        assert len(built_in.windows) == 256
        assert set(built_in.modalities) == {tuple(built_in.inputs)}


def test_the_command_prints_and_writes_nothing(cli, scenario_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = scenario_file()
    flags = ["--device", "cpu", "--workers", 1, "--seconds", TINY_S]
    code, out, err = cli("calibrate", path, *flags, "--set", "executor.strategy=looped")
    assert (code, err) == (0, "")
    for part in ("tiny on cpu", SEQUENTIAL, "taken now", "A run takes: looped", "throughput_gflops"):
        assert part in out
    assert "\x1b" not in out
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_scenario_the_built_in_cases_are_measured(cli, monkeypatch):
    monkeypatch.setattr(cases, "built_in_cases", lambda: built_in_cases()[:1])
    code, out, _ = cli("calibrate", "--device", "cpu", "--workers", 1, "--seconds", TINY_S)
    assert code == 0
    assert all(part in out for part in ("mlp pair on cpu", *STACKS))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.yaml"], "missing.yaml: cannot be read"),
        (["tiny.yaml", "--seconds", "0"], "--seconds: must be a number of seconds above 0; given 0"),
        (["tiny.yaml", "--seconds", "-3"], "given -3"),
        (["tiny.yaml", "--seconds", "nan"], "given nan"),
        (["tiny.yaml", "--seconds", "inf"], "given inf"),
        (["tiny.yaml", "--workers", "0"], "--workers"),
        (["tiny.yaml", "--device", "tpu"], "auto, cpu, cuda, cuda:N"),
        (["tiny.yaml", "--set", "clients.count=0"], "clients.count"),
        (["--set", "clients.count=3"], "--set needs a SCENARIO.yaml argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(cli, scenario_file, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    scenario_file()
    code, out, err = cli("calibrate", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("interlude: ")
    assert said in err


def test_bad_numbers_from_python_are_refused_too(tiny):
    with pytest.raises(BadInputError, match="--workers"):
        calibrate(tiny(), workers=0)
    with pytest.raises(BadInputError, match="--seconds"):
        calibrate(tiny(), seconds=-1.0)
