"""BMSFed through whole runs: schedules, payloads, and what it becomes without its parts."""

import pandas as pd
import pytest

from interlude import parse_scenario, run_scenario
from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.errors import BadInputError
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.methods.bmsfed import BMSFed, BMSFedOptions
from interlude.simulator.methods.bmsfed.enhancement import ModalEnhanced
from interlude.simulator.methods.fedavg import FedAvg, FedAvgOptions
from interlude.simulator.methods.probe import probe
from interlude.simulator.training.profile.costs import CostModel
from interlude.simulator.training.values import FUSED


class ProbedFedAvg(FedAvg):
    """FedAvg that throws a probe away first, so that it meets BMSFed's windows."""

    class Options(FedAvgOptions):
        name: str = ""

    def before_rounds(self, server):
        yield from probe(server)


def run(given, tmp_path, *methods, **options):
    return run_scenario(parse_scenario({**given, "methods": list(methods)}), runs=tmp_path, **options)


def by_version(record):
    """Return the metrics of each version, whenever they were taken."""
    curves = record.metrics[record.metrics["metric"].isin(["accuracy", "loss"])]
    return curves.drop_duplicates(["version", "metric", "modality"]).drop(columns="time_s").reset_index(drop=True)


ROUNDS = {"until": {"versions": 3}, "evaluate.every_s": 1}


def test_nothing_chosen_and_nothing_enhanced_is_fedavg_number_for_number(scenario_with, tmp_path):
    bare = {"name": "bmsfed", "selection": "uniform", "enhancement": False}
    fedavg, bmsfed = run(scenario_with(ROUNDS), tmp_path, {"name": "fedavg"}, bare)
    pd.testing.assert_frame_equal(fedavg.timeline, bmsfed.timeline)
    curves = bmsfed.metrics[bmsfed.metrics["metric"] != "modality_ratio"].reset_index(drop=True)
    pd.testing.assert_frame_equal(fedavg.metrics, curves)


def test_all_clients_without_enhancement_are_fedavg_after_a_probe(scenario_with, tmp_path):
    probed = {"name": f"{__name__}:ProbedFedAvg"}
    bare = {"name": "bmsfed", "enhancement": False, "chi": None}
    fedavg, bmsfed = run(scenario_with(ROUNDS), tmp_path, probed, bare)
    assert by_version(fedavg)["version"].max() == 3
    # clients are sent out in another order, so sums may round differently, and a test sample may tip over
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(bmsfed), rtol=1e-4, atol=5e-3)


def test_all_clients_without_enhancement_are_fedavg_where_a_batch_is_the_whole_shard(scenario_with, tmp_path):
    # the order of samples then matters to rounding only, so the window that the probe used up does not show
    given = scenario_with({**ROUNDS, "training.batch_size": 1000, "training.window_samples": None})
    fedavg, bmsfed = run(given, tmp_path, {"name": "fedavg"}, {"name": "bmsfed", "enhancement": False, "chi": None})
    pd.testing.assert_frame_equal(by_version(fedavg), by_version(bmsfed), rtol=1e-4, atol=5e-3)


def test_the_code_rule_without_uni_modal_clients_is_divfl(scenario_with, tmp_path):
    given = scenario_with({**ROUNDS, "clients.count": 8})
    server = {"clients_per_round": 3}
    bare = {"name": "bmsfed", "enhancement": False, "chi": None, "rule": "code", "gradients": "model", "server": server}
    divfl, bmsfed = run(given, tmp_path, {"name": "divfl", "server": server}, bare)
    pd.testing.assert_frame_equal(by_version(divfl), by_version(bmsfed))


def test_the_probe_costs_every_client_a_download_an_epoch_and_an_upload(scenario_with, tmp_path):
    # gray after 2 s, color after 5 s, no latency, one speed; two local epochs, of which the probe makes one:
    #   client 0  |download|wait gray|wait color|train 1 epoch|upload|download ...
    #   client 1  |download|wait gray|wait color|train 1 epoch|upload|idle ...
    constant = {"per_client": {"distribution": "constant", "value_s": 2.0}}
    given = scenario_with(
        {
            "world.arrival.gray": constant,
            "world.arrival.color": {"per_client": {"distribution": "constant", "value_s": 5.0}},
            "training.local_epochs": 2,
            "until": {"versions": 1},
        }
    )
    (record,) = run(given, tmp_path, {"name": "bmsfed", "server": {"clients_per_round": 2}}, timing_only=True)
    spans = record.timeline[record.timeline["activity"] != "merge"].sort_values(["client", "start_s"], kind="stable")
    probe_end_s = 0.0
    for _, mine in spans.groupby("client"):
        kinds = [k for k in mine["activity"] if k != "idle"]
        assert kinds[:5] == ["download", "wait", "wait", "train", "upload"]
        waits = mine[mine["activity"] == "wait"].iloc[:2]
        assert waits["end_s"].tolist() == pytest.approx([2.0, 5.0])
        probe_end_s = max(probe_end_s, mine[mine["activity"] == "upload"]["end_s"].iloc[0])
    later = spans[spans["start_s"] >= probe_end_s]
    downloads = later[later["activity"] == "download"]
    assert downloads["start_s"].tolist() == pytest.approx([probe_end_s] * 2)
    trained = spans[spans["activity"] == "train"].sort_values("start_s")
    assert len(trained) == 4 + 2
    # batches of 32 in windows of 32: one step in the probe, which measures once, before it; a round has a second step
    # and measures once more, after it
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    method = BMSFed(BMSFedOptions())
    costs = CostModel(network, 32, method.broadcast(method.initial_memory(network, 4)))
    more = costs.profile(ModalEnhanced(("gray", "color")), 32)
    assert trained["flops"].iloc[-1] - trained["flops"].iloc[0] == more.step.flops + more.report.flops


def test_the_probe_reports_the_model_as_it_was_received(scenario_with, tmp_path):
    # whatever the probe's own training does to it, so that the first ratio that is known knows no learning rate
    ratios = []
    for learning_rate in (0.01, 0.2):
        given = scenario_with({**ROUNDS, "until": {"versions": 1}, "training.optimizer.learning_rate": learning_rate})
        (record,) = run(given, tmp_path / str(learning_rate), {"name": "bmsfed"})
        metrics = record.metrics.query("metric == 'modality_ratio' and version == 0")["value"]
        ratios.append([value for value in metrics if value != 1.0])
    assert ratios[0]
    assert ratios[0] == ratios[1]


LATE_COLOR = {
    "clients.count": 6,
    "clients.multimodal_fraction": 1.0,
    "world.arrival.gray": {"per_client": {"distribution": "constant", "value_s": 1.0}},
    "world.arrival.color": {"per_client": {"distribution": "constant", "value_s": 20.0}},
    "until": {"versions": 3},
}
EAGER = {"name": "bmsfed", "chi": 1.0, "rule": "code", "server": {"clients_per_round": 3}}
AS_PUBLISHED = {"label": "as-published", "coefficient": "code", "ratio": "accuracy", "measures": "held"}
BOTH = {**EAGER, "chi": 1.5}  # some train both modalities, some the weak one alone


def test_uni_modal_clients_do_not_wait_and_send_their_modality_only(scenario_with, tmp_path):
    (record,) = run(scenario_with(LATE_COLOR), tmp_path, EAGER)
    spans = record.timeline
    alone = spans[spans["activity"] == "train_unimodal"]
    assert set(alone["modality"]) == {"gray"}  # gray is behind on these data, and early in this world
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    dense, prototypes = network.num_bytes(network.groups_of(("gray",))), 10 * 16 * 4
    for _, span in alone.iterrows():
        mine = spans[spans["client"] == span["client"]]
        (download,) = mine[(mine["activity"] == "download") & (mine["end_s"] < span["start_s"])].tail(1).itertuples()
        assert span["start_s"] == pytest.approx(download.start_s + 1.0)
        assert download.bytes == dense + 2 * prototypes + 4
        (upload,) = mine[(mine["activity"] == "upload") & (mine["start_s"] == span["end_s"])].itertuples()
        assert upload.bytes == dense + prototypes + 4 + 40 + 8


def test_uni_modal_clients_that_measure_all_wait_for_it_and_report_it(scenario_with, tmp_path):
    (record,) = run(scenario_with(LATE_COLOR), tmp_path, {**EAGER, "measures": "held", "coefficient": "code"})
    spans = record.timeline
    alone = spans[spans["activity"] == "train_unimodal"]
    assert set(alone["modality"]) == {"gray"}
    network = Network(ModelSpec(encoder="mlp", width=16), {"gray": (1, 8, 8), "color": (3, 8, 8)}, 10)
    prototypes = 10 * 16 * 4
    for _, span in alone.iterrows():
        mine = spans[spans["client"] == span["client"]]
        (download,) = mine[(mine["activity"] == "download") & (mine["end_s"] < span["start_s"])].tail(1).itertuples()
        assert download.bytes == network.num_bytes(network.groups_of(("gray", "color"))) + 2 * prototypes
        wait, measure, upload = mine[mine["start_s"] >= span["end_s"]].head(3).itertuples()
        assert (wait.activity, wait.modality, wait.end_s) == ("wait", "color", pytest.approx(download.start_s + 20.0))
        assert (measure.activity, measure.modality, measure.flops > 0) == ("train", "", True)
        assert upload.bytes == network.num_bytes(network.groups_of(("gray",))) + 2 * (prototypes + 4) + 40 + 8


def test_without_a_threshold_no_client_trains_alone(scenario_with, tmp_path):
    (record,) = run(scenario_with(LATE_COLOR), tmp_path, {**EAGER, "chi": None})
    assert not (record.timeline["activity"] == "train_unimodal").any()


@pytest.fixture(scope="module")
def base(scenario_with, tmp_path_factory):
    given = scenario_with({**LATE_COLOR, "training.local_epochs": 2})
    (record,) = run(given, tmp_path_factory.mktemp("base"), BOTH)
    assert {"train", "train_unimodal"} <= set(record.timeline.query("version > 0")["activity"])
    return record


@pytest.mark.parametrize(
    "switch",
    [
        {"chi": None},
        {"rule": "paper"},
        {"rule": "literal"},
        {"coefficient": "code", "prototypes": "local"},
        {"ratio": "accuracy"},
        {"measures": "held"},
        {"enhancement": False},
        {"prototypes": "local"},
        {"selection": "uniform"},
        {"subset_size": 1},
        {"waiting": "first"},
        {"waiting": "opportunistic"},
        {"proximal": 0.5},
        {"selection": "uniform", "server": {"rule": "on_arrival"}},
        {"selection": "uniform", "server": {"rule": "buffered", "size": 2}},
        {"selection": "uniform", "server": {"rule": "on_arrival"}, "waiting": "first"},
    ],
    ids=str,
)
def test_every_switch_runs_and_changes_the_result(switch, base, scenario_with, tmp_path):
    given = scenario_with({**LATE_COLOR, "training.local_epochs": 2})
    (switched,) = run(given, tmp_path, {**BOTH, **switch})
    assert switched.metrics["value"].notna().all()
    assert not by_version(base)["value"].equals(by_version(switched)["value"])


def test_clients_with_one_modality_train_what_they_have(scenario_with, tmp_path):
    given = scenario_with({**LATE_COLOR, "clients.multimodal_fraction": 0.5, "world.faults.dropout_probability": 0.3})
    records = run(given, tmp_path, EAGER, {**EAGER, **AS_PUBLISHED})
    for record in records:
        trained = record.timeline[(record.timeline["activity"] == "train") & (record.timeline["modality"] != "")]
        assert set(trained["modality"]) == {"gray", "color", "gray+color"}
        assert record.metrics["value"].notna().all()


def test_ratio_is_recorded(scenario_with, tmp_path):
    (record,) = run(scenario_with(LATE_COLOR), tmp_path, EAGER)
    ratios = record.metrics[record.metrics["metric"] == "modality_ratio"]
    assert set(ratios["modality"]) == {FUSED}
    assert ratios["value"].iloc[0] == 1.0
    assert ratios["value"].iloc[-1] != 1.0


def test_default_server_is_a_barrier():
    assert BMSFedOptions().server == Barrier()


@pytest.mark.parametrize("rule", ["on_arrival", "buffered"])
def test_selection_without_rounds_is_refused(rule, scenario_with):
    given = scenario_with({"methods": [{"name": "bmsfed", "server": {"rule": rule}}]})
    with pytest.raises(BadInputError, match=r"selection 'submodular' .* needs server.rule 'barrier'") as caught:
        parse_scenario(given)
    assert "\n" not in str(caught.value)
