"""A user's own encoder and fusion head train with their options; what is none is refused in one sentence."""

import pytest

import interlude
from interlude.simulator.run.build import build_testbed

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
