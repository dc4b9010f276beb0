"""MFedMC (Yuan et al., 2024).

* `method`: the method.
* `options`: its options.
* `objective`: what clients minimise and report.
* `offers`: what the server knows of clients, and priorities of modalities.
"""
