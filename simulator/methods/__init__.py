"""What a method decides: a file for each paper, a folder where a paper needs more, and the table of methods.

To add one: write its file, and name its class here. A method of your own needs no change here: a scenario can name it
as ``my_package.my_module:MyMethod``.
"""

from typing import TYPE_CHECKING

from interlude.simulator.importing import ImportTable

if TYPE_CHECKING:
    from interlude.simulator.methods.base import Method

_HERE = "interlude.simulator.methods"

PLACES = {
    "fedavg": f"{_HERE}.fedavg:FedAvg",
    "fedasync": f"{_HERE}.fedasync:FedAsync",
    "fedbuff": f"{_HERE}.fedbuff:FedBuff",
    "mba": f"{_HERE}.mba.method:MBA",
    "bmsfed": f"{_HERE}.bmsfed.method:BMSFed",
    "divfl": f"{_HERE}.divfl:DivFL",
    "fedproto": f"{_HERE}.fedproto:FedProto",
    "fedpmr": f"{_HERE}.fedpmr:FedPMR",
    "fedcmi": f"{_HERE}.fedcmi.method:FedCMI",
    "fedmchain": f"{_HERE}.fedmchain.method:FedMChain",
    "fedmsplit": f"{_HERE}.fedmsplit:FedMSplit",
    "fedprox": f"{_HERE}.fedprox:FedProx",
    "fedogm": f"{_HERE}.fedogm:FedOGM",
    "pow-d": f"{_HERE}.powerofchoice:PowerOfChoice",
    "fedavg-p": f"{_HERE}.modality_dropping:ModalityDropping",
}
"""The names of methods, and where each class is."""

METHODS: "ImportTable[type[Method]]" = ImportTable(PLACES)
"""The methods; a class is imported when it is asked for."""
