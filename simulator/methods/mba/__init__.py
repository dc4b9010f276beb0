"""MBA: the gap before the last modality arrives is used to train the early ones alone (Ma et al., poster).

`method` has the formulas, `objective` what a client minimises and reports, `imbalance` what the server remembers.
"""

from interlude.simulator.methods.mba.method import MBA, MBAOptions

__all__ = ["MBA", "MBAOptions"]
