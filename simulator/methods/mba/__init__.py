"""MBA: the gap before the last modality arrives is used to train the early ones alone (Ma et al., poster).

`method` has the formulas, `options` the switches between readings of the poster, `objective` what a client minimises
and reports, `distances` what it measures, `imbalance` what the server remembers.
"""

from interlude.simulator.methods.mba.method import MBA
from interlude.simulator.methods.mba.options import MBAOptions

__all__ = ["MBA", "MBAOptions"]
