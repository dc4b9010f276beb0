"""G-Blending (Wang et al., CVPR 2020).

* `method`: the method, its options and what the server knows.
* `objective`: what clients minimise, and what probes report.
"""
