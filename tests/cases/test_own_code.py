"""A user's own method runs, and of errors in code of a user's own the user's line is told first."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch
from every_method import EVERY_METHOD

import interlude
from interlude.simulator.cli.main import main
from interlude.simulator.methods import METHODS, PLACES
from interlude.simulator.run.build import build_testbed
from interlude.simulator.run.spec import run_specs
from interlude.simulator.sweep.worker import execute
from interlude.simulator.training.workers import worker

ARRIVAL = {"a": {"per_client": {"distribution": "constant", "value_s": 1.0}}}


def line_of(path, text):
    """Return the beginning of a sentence about a line of a user's."""
    lines = path.read_text().splitlines()
    (number,) = (i for i, line in enumerate(lines, 1) if text in line)
    return f"{path.name}, line {number}, '{' '.join(lines[number - 1].split())}': "


METHOD = """
    from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions
    from interlude.simulator.methods.interface import CrossEntropy
    from pydantic import model_validator

    def fail(first, *_):
        return {}["nothing here"]  # the line

    class Fails(CrossEntropy):
        def loss(self, network, parameters, batch, context):
            return fail(self)

    class Options(FedAvgOptions):
        OPTIONS
        pass

    class Mine(FedAvg):
        Options = Options
        HOOK
"""
DATA = """
    import interlude
    import numpy as np

    @interlude.dataset
    def make():
        return np.zeros(3).reshape(2, 2)  # the line
"""
ENCODER = """
    import interlude
    from torch import nn

    @interlude.encoder
    class Mine(nn.Module):
        def __init__(self, given, width):
            super().__init__()
            self.linear = nn.Linear(3, width)

        def forward(self, x):
            return self.linear(x)  # the line
"""
MINE = {"methods": [{"name": "mine:Mine"}]}
METHOD_LINE, METHOD_SAYS = "# the line", "KeyError: 'nothing here'"


def method(hook="pass", options="pass"):
    return METHOD.replace("HOOK", hook).replace("OPTIONS", options)


@pytest.mark.parametrize(
    ("text", "changes", "line", "said"),
    [
        (method("client_round = fail"), MINE, METHOD_LINE, METHOD_SAYS),
        (method("network = fail"), MINE, METHOD_LINE, METHOD_SAYS),
        (method("initial_memory = fail"), MINE, METHOD_LINE, METHOD_SAYS),
        (method("select = fail"), MINE, METHOD_LINE, METHOD_SAYS),
        (method("before_rounds = fail"), MINE, METHOD_LINE, METHOD_SAYS),
        (method("objective = lambda self, client, ready: Fails(ready.modalities)"), MINE, METHOD_LINE, METHOD_SAYS),
        (method(options="check_modalities = fail"), MINE, METHOD_LINE, METHOD_SAYS),
        (method(options="_v = model_validator(mode='after')(lambda self: fail(self))"), MINE, METHOD_LINE, METHOD_SAYS),
        (
            DATA,
            {"data": {"dataset": "mine:make"}, "world.arrival": ARRIVAL},
            "# the line",
            "ValueError: cannot reshape",
        ),
        (ENCODER, {"model.encoder": "mine:Mine"}, "# the line", "RuntimeError: "),
        ("import no_such_module  # the line\n", MINE, "# the line", "ModuleNotFoundError: No module named 'no_such_"),
        ("import sys\nsys.exit(3)  # the line\n", MINE, "# the line", "SystemExit: 3"),
        ("def make(: pass  # the line\n", MINE, "# the line", "SyntaxError: "),
    ],
)
def test_an_error_before_a_run_is_one_sentence_that_begins_with_the_users_line(text, changes, line, said, own, command):
    path = own(text)
    code, out, err = command("check", changes)
    assert (code, out) == (2, ""), err
    assert err.startswith(f"interlude: {line_of(path, line)}{said}")
    assert err.count("\n") == 1
    assert len(err) <= 420
    assert "SimPy" not in err
    assert "Traceback" not in err


def test_the_rest_of_an_error_is_told_with_debug(own, command):
    path = own(method("client_round = fail"))
    _, _, err = command("check", MINE, "--debug")
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith(f"interlude: {line_of(path, METHOD_LINE)}")


LATE = method(
    """
        def merge(self, model, memory, updates):
            import torch
            raise ValueError(f"after {len(updates)} updates")  # late
    """
)


def test_an_error_during_a_run_is_the_users_line_in_the_sentence_the_record_and_a_sweep(
    own, command, scenario_with, tmp_path
):
    path = own(LATE)
    sentence = f"{line_of(path, '# late')}ValueError: after 4 updates"
    code, out, err = command("run", MINE)
    assert (code, err) == (1, f"interlude: {sentence}\n")
    assert "Traceback" not in out
    info = json.loads((tmp_path / "runs/tiny/Mine-s0/run.json").read_text())
    assert (info["status"], info["error"]) == ("failed", sentence)

    scenario = interlude.parse_scenario(scenario_with({"until": {"versions": 2}, **MINE}))
    (spec,) = run_specs(scenario, tmp_path / "swept", torch.device("cpu"), timing_only=False)
    failed = execute(spec, spec.runs, "cpu", None)
    assert failed[0] == sentence
    assert json.loads((spec.path / "run.json").read_text())["error"] == sentence


def test_an_error_in_a_worker_process_is_the_users_line(own):
    path = own(
        """
        class Fails:
            def __reduce__(self):
                return (fail, ())

        def fail():
            raise ValueError("in a worker")  # the line
        """
    )
    import mine

    class Connection:
        """What a worker process is connected to: one message, then the end."""

        def __init__(self):
            self.sent = []
            self._messages = [("setup", 1, worker.pickle.dumps(mine.Fails()))]

        def recv(self):
            if not self._messages:
                raise EOFError
            return self._messages.pop()

        def send(self, answer):
            self.sent.append(answer)

    connection = Connection()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "recv_handle", lambda _: 0)
        worker.serve(connection)
    number, is_good, (sentence, trace) = connection.sent[-1]
    assert (number, is_good) == (1, False)
    assert sentence == f"{line_of(path, '# the line')}ValueError: in a worker"
    assert "Traceback" in trace


def test_an_error_in_a_callback_stays_what_it_is_and_the_record_has_the_users_line(own, scenario_with, tmp_path):
    path = own('def watch(moment):\n    raise LookupError("enough")  # the line\n')
    import mine

    scenario = interlude.parse_scenario(scenario_with({"until": {"versions": 1}}))
    with pytest.raises(LookupError, match="enough"):
        interlude.run_scenario(scenario, runs=tmp_path, device="cpu", workers=1, timing_only=True, watch=mine.watch)
    info = json.loads((tmp_path / "tiny/fedavg-s0/run.json").read_text())
    assert info["error"] == f"{line_of(path, '# the line')}LookupError: enough"


@pytest.mark.parametrize("name", METHODS)
def test_a_shipped_method_copied_under_another_name_is_a_method(name, own, scenario_with):
    module, _, title = PLACES[name].partition(":")
    source = Path(sys.modules[METHODS[name].__module__].__file__).read_text()
    own(re.sub(rf"\b{METHODS[name].__name__}\b", "Copy", source))
    assert title == METHODS[name].__name__
    assert module
    scenario = interlude.parse_scenario(scenario_with({"methods": [{**EVERY_METHOD[name], "name": "mine:Copy"}]}))
    method = build_testbed(scenario).ingredients(scenario.methods[0]).method
    assert type(method).__module__ == "mine"
    assert scenario.methods[0].run_label == "Copy"


def test_the_file_that_new_writes_runs_at_once(own, command, capsys, tmp_path):
    del own
    name = "my_2nd_method"
    with pytest.raises(SystemExit) as ended:
        main(["new", "method", name])
    written = capsys.readouterr().out
    assert not ended.value.code
    (named,) = set(re.findall(rf"{name}:\w+", written))
    code, _, err = command("run", {"methods": [{"name": named, "passes": 2}], "until": {"versions": 1}})
    assert (code, err) == (0, "")
    assert interlude.RunRecord(tmp_path / "runs/tiny/My2ndMethod-s0").is_complete
    before = (tmp_path / f"{name}.py").read_text()
    with pytest.raises(SystemExit) as ended:
        main(["new", "method", name])
    assert ended.value.code == 2
    assert "exists already and is not overwritten" in capsys.readouterr().err
    assert (tmp_path / f"{name}.py").read_text() == before


@pytest.mark.parametrize(
    "name",
    ["", "1st", "a-b", "a.b", "../x", "a/b", "class", "None", "true", "method", "random", "numpy", "é", "a" * 200],
)
def test_new_refuses_what_can_be_no_module(name, own, capsys, tmp_path):
    del own
    with pytest.raises(SystemExit) as ended:
        main(["new", "method", name])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert os.listdir(tmp_path) == []
