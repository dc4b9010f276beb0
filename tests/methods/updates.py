"""Updates of one-number parameters, for merges that are worked out on paper."""

import torch

from interlude.simulator.training.merge import ClientUpdate

NAMES = ("encoder.a.weight", "encoder.b.weight", "encoder.c.weight", "head.bias")
GROUPS = ("encoder.a", "encoder.b", "encoder.c", "head.bias")


def model_of(value):
    """Return a model whose parameters are all one number."""
    return {name: torch.tensor([value]) for name in NAMES}


def update_of(value, *, groups=GROUPS, num_samples=1, staleness=0, start=0.0):
    """Return an update that trained some groups from one number to another."""
    start_model = model_of(start)
    trained = {name: torch.tensor([value]) for name in NAMES if name.rpartition(".")[0] in groups or name in groups}
    return ClientUpdate(
        client=0,
        groups=groups,
        num_samples=num_samples,
        staleness=staleness,
        parameters=start_model | trained,
        start=start_model,
        report={},
    )


def merged(method, model, *updates):
    """Return the numbers of the next model, in the order of `NAMES`."""
    following = method.merge(model, None, updates)
    return [round(following[name].item(), 5) for name in NAMES]
