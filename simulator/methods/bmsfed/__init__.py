"""BMSFed: clients and the modality each one trains are selected so that the weak modality catches up.

Fan et al., ECCV 2024. `method` has the formulas, `enhancement` what a client minimises, `measures` what it reports,
`balance` what the server remembers.
"""

from interlude.simulator.methods.bmsfed.method import BMSFed
from interlude.simulator.methods.bmsfed.options import BMSFedOptions

__all__ = ["BMSFed", "BMSFedOptions"]
