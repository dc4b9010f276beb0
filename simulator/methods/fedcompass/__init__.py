"""FedCompass: local steps assigned so that groups of clients arrive together (Li et al., ICLR 2024).

`method` has the formulas and the server's process, `scheduler` the groups and the steps of their clients.
"""

from interlude.simulator.methods.fedcompass.method import FedCompass, FedCompassOptions

__all__ = ["FedCompass", "FedCompassOptions"]
