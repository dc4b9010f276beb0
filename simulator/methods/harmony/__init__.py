"""Harmony (Ouyang et al., MobiSys 2023).

* `method`: the method and its options.
* `federations`: when rounds begin and end.
* `objective`: what clients minimise and report.
* `clusters`: k-means.
"""
