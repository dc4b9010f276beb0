"""What a method decides: a file for each paper, a folder where a paper needs more, and the table of methods.

To add one: write its file, and name its class here. A method of your own needs no change here: a scenario can name it
as ``my_package.my_module:MyMethod``.
"""

from interlude.simulator.methods.base import Method
from interlude.simulator.methods.bmsfed import BMSFed
from interlude.simulator.methods.divfl import DivFL
from interlude.simulator.methods.fedasync import FedAsync
from interlude.simulator.methods.fedavg import FedAvg
from interlude.simulator.methods.fedbuff import FedBuff
from interlude.simulator.methods.fedcmi import FedCMI
from interlude.simulator.methods.fedmchain import FedMChain
from interlude.simulator.methods.fedmsplit import FedMSplit
from interlude.simulator.methods.fedogm import FedOGM
from interlude.simulator.methods.fedpmr import FedPMR
from interlude.simulator.methods.fedproto import FedProto
from interlude.simulator.methods.fedprox import FedProx
from interlude.simulator.methods.mba import MBA
from interlude.simulator.methods.modality_dropping import ModalityDropping
from interlude.simulator.methods.powerofchoice import PowerOfChoice

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
