"""FedPAC (Xu et al., ICLR 2023).

* `method`: the method, its options and what the server keeps.
* `objective`: what clients minimise and report.
* `collaboration`: how much of each head is in that of another client.
"""
