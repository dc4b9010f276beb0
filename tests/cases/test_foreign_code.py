"""A scenario from a stranger calls nothing that does not say what it is, and `check` lists what it will call."""

import os
import shutil
import subprocess
import sys
from types import ModuleType

import pytest
import yaml

import interlude
from interlude import BadInputError
from interlude.simulator.cli.main import main
from interlude.simulator.own_code.foreign import needs_declaration
from interlude.simulator.run.build import build_testbed

OWN = """
    from __future__ import annotations
    import functools
    import interlude
    import numpy as np
    from torch import nn

    def undeclared():
        raise AssertionError("called")

    class Dataset:
        pass

    def of_another_library() -> Dataset:
        raise AssertionError("called")

    def splits():
        draw = np.random.default_rng(0)
        make = lambda n: {"a": draw.normal(size=(n, 3)).astype("float32"), "label": np.arange(n) % 2}
        return make(40), make(10)

    @functools.cache
    @interlude.dataset
    def decorated():
        return splits()

    def annotated() -> interlude.Dataset:
        return splits()

    @interlude.fusion
    class Head(nn.Module):
        pass

    class Plain(nn.Module):
        def __init__(self, *_):
            raise AssertionError("called")
"""


@pytest.fixture
def own(own):
    """Write `stranger.py`; return the function that writes modules of a user's own."""
    own(OWN, "stranger")
    return own


def refused(given):
    with pytest.raises(BadInputError) as caught:
        build_testbed(interlude.parse_scenario(given))
    message = str(caught.value)
    assert len(message) <= 400
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("os:system", {"command": "true"}),
        ("subprocess:check_output", {"args": ["true"]}),
        ("shutil:rmtree", {"path": "victim"}),
        ("builtins:exec", {}),
        ("unittest.mock:call", {}),
        ("stranger:undeclared", {}),
        ("stranger:of_another_library", {}),
        ("stranger:Head", {}),
    ],
)
def test_a_function_that_does_not_say_that_it_is_a_data_set_is_not_called(
    function, options, own, scenario_with, tmp_path, monkeypatch
):
    del own
    called = []
    for module, name in ((os, "system"), (subprocess, "check_output"), (shutil, "rmtree")):
        monkeypatch.setattr(module, name, lambda **given: called.append(given))
    (tmp_path / "victim").mkdir()
    message = refused(scenario_with({"data": {"dataset": function, "options": options}}))
    assert f"data.dataset: '{function}' does not say that it is a dataset, so it is not called" in message
    assert "'@interlude.dataset'" in message
    assert "'-> interlude.Dataset'" in message
    assert called == []
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize("function", ["decorated", "annotated"])
def test_a_function_that_says_so_is_called(function, own, scenario_with):
    del own
    arrival = {"a": {"per_client": {"distribution": "constant", "value_s": 1.0}}}
    given = scenario_with({"data": {"dataset": f"stranger:{function}"}, "world.arrival": arrival})
    assert build_testbed(interlude.parse_scenario(given)).dataset.modalities == ("a",)


@pytest.mark.parametrize(
    ("field", "kind", "name"),
    [
        ("model.encoder", "encoder", "os:system"),
        ("model.encoder", "encoder", "torch.nn:Linear"),
        ("model.encoder", "encoder", "stranger:Plain"),
        ("model.encoder", "encoder", "stranger:Head"),
        ("model.fusion", "fusion", "subprocess:check_output"),
        ("model.fusion", "fusion", "stranger:Plain"),
    ],
)
def test_a_module_that_does_not_say_what_it_is_is_not_made(field, kind, name, own, scenario_with):
    del own
    message = refused(scenario_with({field: {"name": name, "options": {}}}))
    assert f"{field}: '{name}' does not say that it is a {kind}, so it is not called" in message
    assert f"'@interlude.{kind}'" in message


@pytest.mark.parametrize("name", ["os:system", "stranger:undeclared", "stranger:Plain"])
def test_what_is_no_method_is_not_called(name, own, scenario_with):
    del own
    assert f"methods.0.name: '{name}' is not a method" in refused(scenario_with({"methods": [{"name": name}]}))


def test_an_object_that_answers_every_name_declares_nothing():
    class Anything:
        def __getattr__(self, name):
            return "dataset"

        def __call__(self):
            raise AssertionError("called")

    module = ModuleType("anything")
    module.it = Anything()
    sys.modules["anything"] = module
    try:
        with pytest.raises(BadInputError, match="does not say"):
            needs_declaration("anything:it", "dataset")
    finally:
        del sys.modules["anything"]


def test_check_lists_the_foreign_code_that_a_scenario_runs(own, scenario_with, tmp_path, capsys):
    own(
        """
        import interlude
        from torch import nn
        from interlude.simulator.methods.fedavg import FedAvg

        class Mine(FedAvg):
            pass

        @interlude.encoder
        def encoder(given, width):
            return nn.Sequential(nn.Flatten(), nn.LazyLinear(width))
        """,
        "lister",
    )
    changes = {"methods": [{"name": "lister:Mine"}], "model.encoder": {"gray": "mlp", "color": "lister:encoder"}}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(scenario_with(changes)))
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path), "--device", "cpu"])
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    table = said.out.split("\ntiny")[0]
    assert "foreign code" in table
    for part in ("model.encoder.color", "lister:encoder", "methods.0.name", "lister:Mine"):
        assert part in table
