"""What a method decides, one small file each, and the table of methods.

To add one: write its file, and name its class here. A method of your own needs no change here: a scenario can name it
as ``my_package.my_module:MyMethod``.
"""

from simulator.methods.base import Method
from simulator.methods.bmsfed import BMSFed
from simulator.methods.divfl import DivFL
from simulator.methods.fedasync import FedAsync
from simulator.methods.fedavg import FedAvg
from simulator.methods.fedbuff import FedBuff
from simulator.methods.fedcmi import FedCMI
from simulator.methods.fedmchain import FedMChain
from simulator.methods.fedmsplit import FedMSplit
from simulator.methods.fedogm import FedOGM
from simulator.methods.fedpmr import FedPMR
from simulator.methods.fedproto import FedProto
from simulator.methods.fedprox import FedProx
from simulator.methods.mba import MBA
from simulator.methods.modality_dropping import ModalityDropping
from simulator.methods.powerofchoice import PowerOfChoice

METHODS: dict[str, type[Method]] = {
    "fedavg": FedAvg,
    "fedasync": FedAsync,
    "fedbuff": FedBuff,
    "mba": MBA,
    "bmsfed": BMSFed,
    "divfl": DivFL,
    "fedproto": FedProto,
    "fedpmr": FedPMR,
    "fedcmi": FedCMI,
    "fedmchain": FedMChain,
    "fedmsplit": FedMSplit,
    "fedprox": FedProx,
    "fedogm": FedOGM,
    "pow-d": PowerOfChoice,
    "fedavg-p": ModalityDropping,
}
