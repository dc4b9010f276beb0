'''How to write a method of your own, and every name that it needs.

A method is one class with options (pydantic). It overrides what differs from `Method`, whose hooks are, in the order in
which they matter:

* at a client: `client_round`, a client's day in verbs of `ClientDay`; or the hooks that the base writes it with,
  `downloaded_groups`, `joint_training` (e.g. with a download in mid-round), `local_steps` (which `objective`,
  `num_steps`, `proximal` term, `learning_rate_scale`), `payload`.
* at the server: `serve` (the rule, or processes of the method's own), `before_rounds`, `candidates` and `select` (which
  clients are sent out, as what), `assign` (what each is told then, however selected), `initial_memory`, `model_for`
  (what a client downloads), `start_for` (where its training starts), `broadcast` and `values_for` (what is sent along,
  to all and to one), `own_values` (what a client has besides), `observe` (what is recorded).
* in a merge, as pure functions: `merge` (the next model), `remember` (the next memory), or `advance` for both at once.
  With a `server.optimizer` the server takes that model for a pseudo-gradient; no method has to know.

What a method returns from `select` and `assign` is written down, so a run of it is resumed exactly, whatever the
choice depended on. The memory may hold tensors, plain values, tuples, lists, dicts, dataclasses and named tuples. An
`Objective` is a frozen dataclass of pure functions: many clients are trained by it at once. The class docstring is the
method's formula card, with the sections that `interlude explain` prints.

A complete one, which runs as it stands (``python largest_loss.py``):

    # largest_loss.py: of all idle clients, those with the largest loss train.
    from collections.abc import Mapping, Sequence
    from dataclasses import dataclass
    from typing import Any

    from torch import Tensor

    import interlude
    from interlude.simulator.methods.interface import (
        Barrier, Batch, ClientDay, ClientUpdate, Context, CrossEntropy, Method, MethodOptions, Named, Network,
        Objective, Parameters, Ready, Role, SelectionView, Values,
    )


    class LargestLossOptions(MethodOptions):
        """Options; those of every method besides."""

        server: Barrier = Barrier(clients_per_round=2)


    @dataclass(frozen=True)
    class ReportsLoss(CrossEntropy):
        """Cross-entropy, and its value after training reported to the server."""

        def report(self, network: Network, parameters: Parameters, window: Batch, context: Context) -> Values:
            return {Named("loss"): self.loss(network, parameters, window, context)}


    class LargestLoss(Method):
        """Largest loss first.

        Server:
            the K idle clients whose last loss was largest train, those never heard of before all others; FedAvg's mean
        """

        Options = LargestLossOptions

        def objective(self, client: ClientDay, ready: Ready) -> Objective:
            return ReportsLoss(ready.modalities)

        def initial_memory(self, network: Network, num_clients: int) -> dict[int, Tensor]:
            return {}

        def remember(self, memory: dict[int, Tensor], updates: Sequence[ClientUpdate]) -> dict[int, Tensor]:
            return memory | {update.client: update.report[Named("loss")] for update in updates}

        def select(self, view: SelectionView, num_clients: int) -> Mapping[int, Role]:
            losses = {client: float(loss) for client, loss in view.memory.items()}
            by_loss = sorted(view.idle, key=lambda client: -losses.get(client, float("inf")))
            return dict.fromkeys(by_loss[:num_clients])

        def observe(self, memory: dict[int, Tensor]) -> Values:
            return {Named("largest_loss"): max(memory.values())} if memory else {}


    SCENARIO: dict[str, Any] = {
        "name": "toy",
        "data": {"dataset": "cg-digits", "partition": {"kind": "iid"}},
        "model": {"encoder": "mlp", "width": 8},
        "clients": {"count": 4},
        "world": {
            "arrival": {
                "gray": {"per_client": {"distribution": "constant", "value_s": 1}},
                "color": {"per_client": {"distribution": "constant", "value_s": 2}},
            },
            "compute": {"throughput_gflops": 0.05},
            "network": {"uplink_mbps": 2, "downlink_mbps": 8, "latency_ms": 50},
        },
        "training": {"batch_size": 32, "optimizer": {"learning_rate": 0.05}},
        "methods": [{"name": "largest_loss:LargestLoss"}],
        "until": {"versions": 4},
        "evaluate": {"every_s": 3},
    }

    if __name__ == "__main__":
        (record,) = interlude.run_scenario(interlude.parse_scenario(SCENARIO), runs="runs", device="cpu", workers=1)
        merges = record.timeline[record.timeline["activity"] == "merge"]
        for version, merged in merges.groupby("version"):
            print(f"version {version:.0f}: clients {sorted(merged['client'])} at {merged['end_s'].iloc[0]:.2f} s")

It prints:

    version 1: clients [0, 1] at 2.19 s
    version 2: clients [2, 3] at 4.37 s
    version 3: clients [0, 1] at 6.56 s
    version 4: clients [2, 3] at 8.75 s
'''

from interlude.models.inputs import Inputs
from interlude.models.network import Network, Parameters
from interlude.models.spec import ModelSpec
from interlude.simulator.federation.client_day import ClientDay
from interlude.simulator.federation.dispatch import (
    ALL_TRAINED,
    NO_REPORT,
    NO_WEIGHTS,
    REPORT_ONLY,
    Payload,
    PendingUpdate,
    Role,
    Span,
    Steps,
)
from interlude.simulator.federation.rules import Barrier, Buffered, OnArrival, ServerRule, SizedBarrier, gather
from interlude.simulator.federation.setting import Population
from interlude.simulator.federation.views import Process, RuleView, SelectionView, ServerView
from interlude.simulator.methods.active_versions import ActiveVersions
from interlude.simulator.methods.base import Method
from interlude.simulator.methods.options import MethodOptions
from interlude.simulator.methods.waiting import WAITING, Ready
from interlude.simulator.training.merge import (
    ClientUpdate,
    Holders,
    add_deltas,
    delta_of,
    difference,
    holders_of,
    mix,
    weighted_mean,
    weighted_sum,
)
from interlude.simulator.training.objective import Batch, Context, CrossEntropy, Noise, Objective
from interlude.simulator.training.task import LocalSteps
from interlude.simulator.training.values import FUSED, Named, Values, by_modality, named

__all__ = [
    "ALL_TRAINED",
    "FUSED",
    "NO_REPORT",
    "NO_WEIGHTS",
    "REPORT_ONLY",
    "WAITING",
    "ActiveVersions",
    "Barrier",
    "Batch",
    "Buffered",
    "ClientDay",
    "ClientUpdate",
    "Context",
    "CrossEntropy",
    "Holders",
    "Inputs",
    "LocalSteps",
    "Method",
    "MethodOptions",
    "ModelSpec",
    "Named",
    "Network",
    "Noise",
    "Objective",
    "OnArrival",
    "Parameters",
    "Payload",
    "PendingUpdate",
    "Population",
    "Process",
    "Ready",
    "Role",
    "RuleView",
    "SelectionView",
    "ServerRule",
    "ServerView",
    "SizedBarrier",
    "Span",
    "Steps",
    "Values",
    "add_deltas",
    "by_modality",
    "delta_of",
    "difference",
    "gather",
    "holders_of",
    "mix",
    "named",
    "weighted_mean",
    "weighted_sum",
]
