"""FedMChain's phases: schedules and payloads drawn by hand, and what training does to them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from interlude.models.network import Network
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.clock import Clock
from interlude.simulator.federation.rules import Barrier
from interlude.simulator.federation.server import Server
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.timeline import Timeline
from interlude.simulator.methods.fedmchain import FedMChain, FedMChainOptions
from interlude.simulator.training.evaluation import EvaluationSets
from interlude.simulator.training.executors.sequential import SequentialExecutor
from interlude.simulator.training.executors.timing_only import TimingOnlyExecutor
from interlude.simulator.training.objective import CrossEntropy
from interlude.simulator.training.spec import OptimizerSpec, TrainingSpec
from interlude.simulator.training.task import LocalSteps

# --- schedules, drawn by hand ----------------------------------------------------------------------------------------


@dataclass
class PaperWorld:
    """Downloads and uploads take 1 s, a phase's training `train_s` of the client, arrivals `delays_s` from dispatch."""

    delays_s: dict[str, list[float | None]]
    train_s: list[float]

    is_uninterrupted, drops_windows, may_train_apart = True, False, False
    availability = outages = None

    def __post_init__(self):
        self.devices = self.links = self.faults = self
        self.shared_bytes_per_s: dict[str, float] = {}
        self.lost: set[tuple[int, int]] = set()
        """Uploads (client, window) that break off half-way."""

    def read_ahead(self, clients):
        pass

    def arrivals_s(self, client, window, round_start_s, num_samples, modalities):
        delays_s = {m: self.delays_s[m][client] for m in modalities}
        return {m: round_start_s + delay_s for m, delay_s in delays_s.items() if delay_s is not None}

    def is_slow(self, client, window):
        return False

    def s_per_flop(self, client, window):
        return 0.0

    operation_flops = task_flops = 0
    battery_draws = None

    def overhead_s(self, client):
        return self.train_s[client]

    def transfer_s(self, client, direction, payload_bytes, window):
        assert payload_bytes > 0
        return 1.0

    def upload_fraction(self, client, window):
        return 0.5 if (client, window) in self.lost else 1.0


def play(world, held, method, until_s=None, *, versions=None, data=None, modalities=("a", "b"), fusion="concat"):
    """Run a federation on paper; returns its timeline as rows and the server."""
    network = Network(ModelSpec(encoder="mlp", width=4, fusion=fusion), dict.fromkeys(modalities, (6,)), num_classes=3)
    training = TrainingSpec(batch_size=4, optimizer=OptimizerSpec(learning_rate=0.1, momentum=0.9))
    tables: list[pa.Table] = []
    clock, timeline = Clock(), Timeline(tables.append)
    model, executor = network.shapes, TimingOnlyExecutor()
    if data is not None:
        model = network.initial_parameters(torch.Generator().manual_seed(0), torch.device("cpu"))
        executor = SequentialExecutor(network, training, 0, data, EvaluationSets(data))
    server = Server(
        clock=clock, world=world, method=method, network=network, model=model, executor=executor, training=training,
        population=Population(list(np.arange(8 * len(held)).reshape(-1, 8)), held), timeline=timeline, seed=0,
        max_versions=versions,
    )  # fmt: skip
    clock.advance(until_s or 1e6)
    server.fleet.finish(clock.now if clock.is_stopped else until_s)
    timeline.flush()
    return pa.concat_tables(tables).to_pandas(), server


def spans(rows, client):
    """Return a client's time without merges as 'activity start-end@version', 'activity outcome' where not done."""
    own = rows[(rows["client"] == client) & (rows["activity"] != "merge")].sort_values("start_s")
    versions = ["" if pd.isna(version) else f"@{version:.0f}" for version in own["version"]]
    columns = zip(own["activity"], own["outcome"], own["start_s"], own["end_s"], versions, strict=True)
    return [
        f"{activity}{'' if outcome == 'done' else f' {outcome}'} {start:g}-{end:g}{version}"
        for activity, outcome, start, end, version in columns
    ]


def merges(rows):
    """Return (time, version, client, staleness) of every merged update."""
    rows = rows[rows["activity"] == "merge"]
    return list(zip(rows["start_s"], rows["version"], rows["client"], rows["staleness"], strict=True))


# Client 0 gets b late, client 1 has no b and trains for 6 s, client 2 gets b after 4 s.
HELD = [("a", "b"), ("a",), ("a", "b")]
WORLD = {"delays_s": {"a": [1, 1, 1], "b": [10, None, 4]}, "train_s": [2.0, 6.0, 2.0]}


def test_phases_take_turns_and_wait_for_what_they_need():
    # phase a, 0 to 8: no client waits for b, although client 0 will not have it before t = 10
    # phase b, 8 to 21: client 1 sits it out; client 0 waits for b until 18, client 2 until 12
    # phase a, 21 to 34: F is f_b now, so 0 waits for b until 31 and 2 until 25; client 1 needs only a
    rows, _ = play(PaperWorld(**WORLD), HELD, FedMChain(FedMChainOptions()), 34)
    assert spans(rows, 0) == [
        "download 0-1@0", "train 1-3@0", "upload 3-4@0", "idle 4-8",
        "download 8-9@1", "wait 9-18@1", "train 18-20@1", "upload 20-21@1",
        "download 21-22@2", "wait 22-31@2", "train 31-33@2", "upload 33-34@2",
    ]  # fmt: skip
    assert spans(rows, 1) == [
        "download 0-1@0", "train 1-7@0", "upload 7-8@0", "idle 8-21",
        "download 21-22@2", "train 22-28@2", "upload 28-29@2", "idle 29-34",
    ]  # fmt: skip
    assert spans(rows, 2) == [
        "download 0-1@0", "train 1-3@0", "upload 3-4@0", "idle 4-8",
        "download 8-9@1", "wait 9-12@1", "train 12-14@1", "upload 14-15@1", "idle 15-21",
        "download 21-22@2", "wait 22-25@2", "train 25-27@2", "upload 27-28@2", "idle 28-34",
    ]  # fmt: skip
    # one merge per phase, of fresh updates
    assert merges(rows) == [
        (8, 1, 0, 0), (8, 1, 2, 0), (8, 1, 1, 0),
        (21, 2, 2, 0), (21, 2, 0, 0),
        (34, 3, 2, 0), (34, 3, 1, 0), (34, 3, 0, 0),
    ]  # fmt: skip


def test_without_compensation_no_client_waits_for_other_modalities():
    # phase a of the second cycle, from 21: 8 s for client 1, and 4 s for the others
    rows, _ = play(PaperWorld(**WORLD), HELD, FedMChain(FedMChainOptions(ec_weight=0.0)), 29)
    assert spans(rows, 0)[-4:] == ["download 21-22@2", "train 22-24@2", "upload 24-25@2", "idle 25-29"]
    assert {m[0] for m in merges(rows)} == {8, 21, 29}


def test_the_order_of_the_chain_is_an_option():
    # b first: clients 0 and 2 from 0, b at 10 and 4; client 1 idle until 13
    rows, server = play(PaperWorld(**WORLD), HELD, FedMChain(FedMChainOptions(order=("b", "a"))), 13)
    assert spans(rows, 1) == ["idle 0-13"]
    assert [m[:3] for m in merges(rows)] == [(13, 1, 2), (13, 1, 0)]
    assert server.version == 1


def test_pipelined_clients_enter_the_next_phase_before_the_merge():
    # 0 and 2 enter phase b at 4, on version 0, while client 1 is in phase a until 8.
    # 8: phase a is merged, and the second phase a opens: client 1 at once, 2 when it is back at 11, 0 at 17.
    # 17: phase b is merged, its updates one version old; 0 goes on with version 2.
    rows, _ = play(PaperWorld(**WORLD), HELD, FedMChain(FedMChainOptions(pipelined=True)), 17.5)
    assert spans(rows, 0) == [
        "download 0-1@0", "train 1-3@0", "upload 3-4@0",
        "download 4-5@0", "wait 5-14@0", "train 14-16@0", "upload 16-17@0", "download cut 17-17.5@2",
    ]  # fmt: skip
    assert spans(rows, 1) == [
        "download 0-1@0", "train 1-7@0", "upload 7-8@0", "download 8-9@1", "train 9-15@1", "upload 15-16@1",
        "idle 16-17.5",
    ]  # fmt: skip
    assert spans(rows, 2)[3:] == [
        "download 4-5@0", "wait 5-8@0", "train 8-10@0", "upload 10-11@0",
        "download 11-12@1", "wait 12-15@1", "train 15-17@1", "upload cut 17-17.5@1",
    ]  # fmt: skip
    assert merges(rows) == [(8, 1, 0, 0), (8, 1, 2, 0), (8, 1, 1, 0), (17, 2, 2, 1), (17, 2, 0, 1)]


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_phase_from_which_nothing_came_back_is_repeated(pipelined):
    # both uploads of phase b break off half-way (client 0's and 2's second window): phase b again, client 1 waits
    world = PaperWorld(**WORLD)
    world.lost = {(0, 1), (2, 1)}
    rows, _ = play(world, HELD, FedMChain(FedMChainOptions(pipelined=pipelined)), 60)
    merged = rows.query("activity == 'merge'").groupby("version")["client"].agg(sorted)
    assert [merged[version] for version in (1, 2)] == [[0, 1, 2], [0, 2]]
    trained = rows.query("activity == 'train' and client == 0 and end_s < 60")["modality"].tolist()
    assert trained[:3] == ["a", "b", "b"]


def test_a_phase_takes_as_many_clients_as_a_round():
    options = FedMChainOptions(server=Barrier(clients_per_round=1))
    rows, _ = play(PaperWorld(**WORLD), HELD, FedMChain(options), 200)
    assert (rows[rows["activity"] == "merge"].groupby("version").size() == 1).all()
    trained = rows[rows["activity"] == "train"]
    assert set(trained["client"]) == {0, 1, 2}
    assert not trained[trained["client"] == 1]["modality"].str.startswith("b").any()


def test_a_missing_modality_of_the_phase_sends_the_client_home_and_another_is_not_waited_for():
    # b never arrives at client 0: it downloads and returns in phase b, and trains a without compensation
    world = PaperWorld(delays_s={"a": [1, 1, 1], "b": [None, None, 4]}, train_s=[2.0, 6.0, 2.0])
    rows, _ = play(world, HELD, FedMChain(FedMChainOptions()), 23)
    assert spans(rows, 0)[3:] == [
        "idle 4-8", "download 8-9@1", "idle 9-15", "download 15-16@2", "train 16-18@2", "upload 18-19@2", "idle 19-23",
    ]  # fmt: skip


def test_payloads_are_what_changed_down_and_sparse_groups_up():
    # mlp of 6 inputs: encoder 6 * 4 + 4 + 4 * 4 + 4 = 48 values, head slice 3 * 4 = 12, bias 3: a 63 values, b 60
    rows, server = play(PaperWorld(**WORLD), HELD, FedMChain(FedMChainOptions()), 34)
    sizes = server.network.group_bytes
    a, b = sizes["encoder.a"] + sizes["head.a"] + sizes["head.bias"], sizes["encoder.b"] + sizes["head.b"]
    assert (a, b) == (63 * 4, 60 * 4)
    down = {client: rows.query(f"activity == 'download' and client == {client}")["bytes"].tolist() for client in (0, 1)}
    # client 0: a; then b for the first time and a, which was merged; then b, which was merged: a is as it was
    assert down == {0: [a, a + b, b], 1: [a, a]}
    # 20 %: encoder 5 + 1 + 3 + 1 = 10 values and a 6 B bitmap; slice 2 and 2 B; bias 1 and 1 B; n_k 8 B
    up = rows.query("activity == 'upload' and outcome == 'done' and client == 0")["bytes"].tolist()
    phase_b = 10 * 4 + 6 + 2 * 4 + 2 + 8
    assert up == [phase_b + 4 + 1, phase_b, phase_b + 4 + 1]


# --- identities ------------------------------------------------------------------------------------------------------


def toy_data(num_samples, modalities):
    generator = torch.Generator().manual_seed(7)
    inputs = {m: torch.randn(num_samples, 6, generator=generator) for m in modalities}
    return inputs, torch.randint(3, (num_samples,), generator=generator)


class PlainRounds(FedMChain):
    """Single-modality federated learning with SSCA: ordinary rounds, cross-entropy, dense downloads."""

    def serve(self, server):
        return self.options.server.serve(server)

    def client_round(self, client):
        yield from client.download()
        yield from client.wait_for("a")
        steps = LocalSteps(CrossEntropy(("a",)), client.num_steps(self.options.phase_epochs), "unimodal-a")
        yield from client.train(steps)
        yield from client.upload()


@pytest.mark.parametrize("fusion", ["concat", "late_sum"])
def test_with_one_modality_it_is_federated_learning_with_ssca(fusion):
    data = toy_data(24, ("a",))
    world = {"delays_s": {"a": [1, 3, 2]}, "train_s": [2.0, 6.0, 3.0]}
    models = []
    for method in (FedMChain, PlainRounds):
        options = FedMChainOptions(rho=0.3)
        _, server = play(
            PaperWorld(**world), [("a",)] * 3, method(options), versions=4, data=data, modalities=("a",), fusion=fusion
        )
        models.append(server.model)
    for name, value in models[0].items():
        assert torch.equal(value, models[1][name]), name


def test_phases_train_one_modality_and_leave_the_others_alone():
    data = toy_data(24, ("a", "b"))
    before = None
    for versions in (1, 2, 3):
        _, server = play(PaperWorld(**WORLD), HELD, FedMChain(FedMChainOptions()), versions=versions, data=data)
        if before is not None:
            changed = {name for name in server.model if not torch.equal(server.model[name], before[name])}
            modality = "a" if versions % 2 else "b"
            assert changed
            assert {name.split(".")[1] for name in changed} <= {modality, *(["bias"] if modality == "a" else [])}
        before = server.model
