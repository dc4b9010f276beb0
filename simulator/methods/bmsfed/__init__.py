"""BMSFed: clients and the modality each one trains are selected so that the weak modality catches up.

Fan et al., ECCV 2024. `method` has the formulas, `enhancement` what a client minimises and reports, `balance` what the
server remembers.
"""

from interlude.simulator.methods.bmsfed.method import BMSFed, BMSFedOptions

__all__ = ["BMSFed", "BMSFedOptions"]
