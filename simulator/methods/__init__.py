"""What a method decides, one small file each, and the table of methods.

To add one: write its file, and name its class here. A method of your own needs no change here: a scenario can name it
as ``my_package.my_module:MyMethod``.
"""

from simulator.methods.base import Method
from simulator.methods.fedasync import FedAsync
from simulator.methods.fedavg import FedAvg
from simulator.methods.fedbuff import FedBuff
from simulator.methods.mba import MBA

METHODS: dict[str, type[Method]] = {
    "fedavg": FedAvg,
    "fedasync": FedAsync,
    "fedbuff": FedBuff,
    "mba": MBA,
}
