"""FedMChain: modalities are trained in turns, one phase each, and every phase ends in one sparse merge.

Zhang et al., arXiv 2606.01856, 2026. `method` has the formulas, `objective` what a client minimises, `phases` when a
phase begins and ends, `consensus` the arithmetic of a merge.
"""

from interlude.simulator.methods.fedmchain.method import FedMChain, FedMChainOptions

__all__ = ["FedMChain", "FedMChainOptions"]
