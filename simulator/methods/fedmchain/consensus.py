"""Sparse sign-guided consensus aggregation (SSCA), the server rule of FedMChain: arithmetic, and nothing about clocks.

The paper names its three ideas (updates are sparsified, clients clustered by the agreement of their signs, each cluster
merged by itself) and its abstract gives no formula; every one here is a RECONSTRUCTION. For updates Delta_k with n_k
samples each:

    sparsify    keep the largest |Delta_kj| of each tensor, a fraction rho; the rest is the residual e_k
    agree       A_kl = #{j: s_kj = s_lj != 0} / #{j: s_kj != 0 and s_lj != 0},   s_k = sign(Delta_k)
    cluster     average linkage, merging while the mean agreement of two clusters is at least a0
    elect       sigma_j = sign(sum_{k in c} n_k Delta_kj)
                Delta^c_j = sum n_k Delta_kj / sum n_k  over the k in c with sign(Delta_kj) = sigma_j; 0 if sigma_j = 0
    merge       theta <- theta + eta_s sum_c (N_c / N) Delta^c,   N_c = sum_{k in c} n_k,   N = sum_c N_c

Election and disjoint mean are those of TIES merging (Yadav et al., NeurIPS 2023). With rho = 1, and either one cluster
whose signs all agree or nothing but clusters of one, the merge is FedAvg on deltas.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from interlude.models.network import Parameters
from interlude.simulator.arrays import Floats
from interlude.simulator.counts import round_product
from interlude.simulator.training.transfer import all_to_device

CHANCE = 0.5
"""The agreement of two updates that share no coordinate: nothing is known."""

_INDEX_BYTES = 4
_BITS_PER_BYTE = 8
_ROUNDING = 1e-9  # an agreement of exactly a0 merges, whatever 1 - A rounds to


def num_kept(num_values: int, rho: float) -> int:
    """Return how many values of a tensor are kept: a fraction `rho`, rounded, but at least one."""
    return max(1, round_product(num_values, rho))


def sparsify(delta: Tensor, rho: float) -> tuple[Tensor, Tensor]:
    """Return a tensor's largest values by magnitude, zero elsewhere, and the residual, in its shape.

    The two add up to `delta` exactly. Of equal magnitudes the earlier is kept.
    """
    flat = delta.flatten()
    order = torch.sort(flat.abs(), descending=True, stable=True).indices
    kept_at = order[: num_kept(len(flat), rho)]
    kept = torch.zeros_like(flat).index_copy(0, kept_at, flat[kept_at]).view_as(delta)
    return kept, delta - kept


def sparse_bytes(tensors: Iterable[Tensor], rho: float) -> int:
    """Return the payload of one parameter group after `sparsify`; only the shapes and types of the tensors matter.

    Values, and where they stand: 4 bytes each or a bitmap of the group, whichever is smaller (the bitmap from
    rho = 1/32 on). Never more than the dense group, which needs no positions.
    """
    tensors = list(tensors)
    counts = [num_kept(tensor.numel(), rho) for tensor in tensors]
    values = sum(count * tensor.itemsize for count, tensor in zip(counts, tensors, strict=True))
    bitmap = -(-sum(tensor.numel() for tensor in tensors) // _BITS_PER_BYTE)
    dense = sum(tensor.numel() * tensor.itemsize for tensor in tensors)
    return min(values + min(_INDEX_BYTES * sum(counts), bitmap), dense)


def agreement(deltas: Sequence[Mapping[str, Tensor]]) -> Floats:
    """Return A [N, N], the share of common coordinates on which two sparse updates agree in sign.

    Two updates without a common coordinate are at `CHANCE`. Takes O(N^2 P) for P parameters.
    """
    counts = []
    for name in deltas[0]:
        signs = torch.stack([delta[name].flatten().sign() for delta in deltas])  # [N, P]
        counts.append(torch.stack([signs @ signs.T, signs.abs() @ signs.abs().T]).double())
    balance, common = torch.stack(counts).sum(dim=0).cpu().numpy()  # agreeing minus disagreeing, and both
    return np.where(common > 0, (common + balance) / np.maximum(2 * common, 1), CHANCE)


def cluster(agreements: Floats, least: float) -> list[list[int]]:
    """Return the members of each cluster, in the order of their first members.

    Args:
        agreements: A, symmetric [N, N].
        least: a0; the two closest clusters are merged while the mean of A between them is at least this.
    """
    if len(agreements) == 1:
        return [[0]]
    tree = linkage(squareform(1.0 - agreements, checks=False), method="average")
    members: dict[int, list[int]] = {}
    for position, label in enumerate(fcluster(tree, 1.0 - least + _ROUNDING, criterion="distance").tolist()):
        members.setdefault(label, []).append(position)
    return list(members.values())


def elected_mean(deltas: Tensor, num_samples: Tensor) -> Tensor:
    """Return Delta^c [...] of the updates [N, ...] of one cluster: the weighted mean of those with the elected sign.

    Args:
        deltas: one tensor of every update in the cluster, stacked.
        num_samples: n_k [N].
    """
    weights = num_samples.view(-1, *[1] * (deltas.dim() - 1))
    elected = (weights * deltas).sum(dim=0).sign()
    agreeing = weights * (deltas.sign() == elected)
    return (agreeing * deltas).sum(dim=0) / agreeing.sum(dim=0).clamp(min=1.0)  # where sigma = 0 only zeros agree


def consensus(
    deltas: Sequence[Mapping[str, Tensor]], num_samples: Sequence[int], least: float
) -> tuple[Parameters, int]:
    """Return sum_c (N_c / N) Delta^c, and the number of clusters.

    Args:
        deltas: the sparse updates, alike in names and shapes.
        num_samples: n_k of each.
        least: a0, the least mean agreement of two clusters that are merged.
    """
    clusters = cluster(agreement(deltas), least)
    sizes, in_order = [len(members) for members in clusters], [position for members in clusters for position in members]
    at_host = {"order": torch.tensor(in_order), "samples": torch.tensor([num_samples[k] for k in in_order])}
    (sent,) = all_to_device([at_host], next(iter(deltas[0].values())).device)
    step: dict[str, Tensor] = {}
    for name, like in deltas[0].items():
        stacked = torch.stack([delta[name] for delta in deltas])[sent["order"]]
        samples = sent["samples"].to(like.dtype)
        parts = [
            elected_mean(of_cluster, weights) * (weights.sum() / samples.sum())
            for of_cluster, weights in zip(torch.split(stacked, sizes), torch.split(samples, sizes), strict=True)
        ]
        step[name] = torch.stack(parts).sum(dim=0)
    return step, len(clusters)
