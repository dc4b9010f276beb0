"""A user's own method, data, encoder and fusion head run, and of their errors the user's own line is told first."""

import importlib
import json
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import yaml

import interlude
from interlude.simulator.cli.main import main
from interlude.simulator.methods import METHODS, PLACES
from interlude.simulator.run.build import build_testbed
from interlude.simulator.run.spec import run_specs
from interlude.simulator.sweep.worker import execute
from interlude.simulator.training.workers import worker

ARRIVAL = {"a": {"per_client": {"distribution": "constant", "value_s": 1.0}}}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that writes `mine.py` into the folder in which commands are given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write(text, name="mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return path

    yield write
    for name in ("mine", *(path.stem for path in tmp_path.glob("*.py"))):
        sys.modules.pop(name, None)


@pytest.fixture
def command(tmp_path, scenario_with, capsys):
    """Return a function that runs a command on a scenario: exit code, output, errors."""

    def run(name, changes, *flags):
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(scenario_with({"until": {"versions": 2}, **changes})))
        runs = ["--runs", str(tmp_path / "runs"), "--workers", "1"] if name == "run" else []
        with pytest.raises(SystemExit) as ended:
            main([name, "own.yaml", "--device", "cpu", *runs, *flags])
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


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
    scenario = interlude.parse_scenario(scenario_with({"methods": [{"name": "mine:Copy"}]}))
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


MODULES = """
    import interlude
    import torch
    from torch import nn

    @interlude.encoder
    class Narrow(nn.Module):
        def __init__(self, given: interlude.InputSpec, width: int, hidden: int = 4):
            super().__init__()
            size = torch.Size(given.shape).numel()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, width))

        def forward(self, x):
            return self.layers(x)

    @interlude.encoder
    def twice(given, width):
        return nn.Sequential(Narrow(given, width), nn.Linear(width, width))

    @interlude.fusion
    class Gated(nn.Module):
        def __init__(self, modalities, width, num_classes, scale=1.0):
            super().__init__()
            for modality in modalities:
                self.add_module(modality, nn.Linear(width, 1))
            self.classifier, self.scale = nn.Linear(width, num_classes), scale

        def forward(self, features):
            gated = [torch.sigmoid(self.get_submodule(m)(z)) * z for m, z in features.items()]
            return self.scale * self.classifier(torch.stack(gated).sum(dim=0))

    @interlude.encoder
    def number(given, width):
        return 3

    @interlude.encoder
    def too_narrow(given, width):
        return Narrow(given, width + 1)

    @interlude.encoder
    def with_statistics(given, width):
        return nn.Sequential(Narrow(given, width), nn.BatchNorm1d(width))

    @interlude.encoder
    def with_dropout(given, width):
        return nn.Sequential(Narrow(given, width), nn.Dropout(0.5))

    @interlude.encoder
    def tied(given, width):
        layers = nn.Sequential(Narrow(given, width), nn.Linear(width, width), nn.Linear(width, width))
        layers[2].weight = layers[1].weight
        return layers

    @interlude.fusion
    class Needs(Gated):
        def forward(self, features):
            return self.classifier(features["gray"] + features["color"])
"""


def test_an_own_encoder_and_fusion_head_train_with_their_options(own, command, tmp_path):
    own(MODULES)
    encoders = {"gray": "mine:twice", "color": {"name": "mine:Narrow", "options": {"hidden": 2}}}
    changes = {"model": {"encoder": encoders, "fusion": {"name": "mine:Gated", "options": {"scale": 2.0}}, "width": 6}}
    methods = [{"name": "fedavg"}, {"name": "mba"}, {"name": "fedcmi"}]
    code, _, err = command("run", {**changes, "methods": methods, "until": {"simulated_s": 8}})
    assert (code, err) == (0, "")
    for label in ("fedavg", "mba", "fedcmi"):
        record = interlude.RunRecord(tmp_path / f"runs/tiny/{label}-s0")
        assert record.is_complete
        losses = record.metrics.query("metric == 'loss'")["value"]
        assert losses.iloc[-1] != losses.iloc[0]
        assert "mine.py" in record.info["files"]


def test_what_all_modalities_share_of_an_own_head_is_one_group(own, scenario_with):
    own(MODULES)
    changes = {"model": {"encoder": "mine:Narrow", "fusion": "mine:Gated", "width": 6}}
    network = build_testbed(interlude.parse_scenario(scenario_with(changes))).network
    assert network.groups_of(("gray",)) == ("encoder.gray", "head.gray", "head._shared")
    assert network.groups["head._shared"] == ("head._shared.classifier.weight", "head._shared.classifier.bias")


@pytest.mark.parametrize(
    ("field", "name", "said"),
    [
        ("encoder", "mine:number", "must be or return a torch.nn.Module; it is a int"),
        ("encoder", "mine:too_narrow", "it returned torch.float32 [2, 17], but must return floats [B, width]"),
        ("encoder", "mine:with_statistics", "has a buffer, '1.running_mean'"),
        ("encoder", "mine:with_dropout", "has a dropout, '1'"),
        ("encoder", "mine:tied", "uses one parameter under two names"),
        ("encoder", "mine:nothing", "'mine:nothing' cannot be imported"),
        ("encoder", {"name": "mine:Narrow", "options": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ("encoder", {"name": "mine:Narrow", "option": {}}, "unknown key 'option'; known here are name, options"),
        ("encoder", {"name": "mlp"}, "model.encoder.name: string should match pattern"),
        ("encoder", {"gray": "mlp"}, "modality 'color' has no entry"),
        ("fusion", "mine:Needs", "KeyError: 'color'"),
        ("fusion", {"options": {}}, "model.fusion.name is missing"),
    ],
)
def test_what_is_no_module_of_the_right_interface_is_one_sentence(field, name, said, own, command):
    own(MODULES)
    code, out, err = command("check", {f"model.{field}": name})
    assert (code, out) == (2, ""), err
    assert said in err
    assert err.count("\n") == 1
    assert len(err) <= 420
