"""FedCMI: the dominant modality of the global model infiltrates the weak one (Fan et al., 2023).

`method` has the formulas, `objective` what a client minimises.
"""

from interlude.simulator.methods.fedcmi.method import FedCMI, FedCMIOptions

__all__ = ["FedCMI", "FedCMIOptions"]
