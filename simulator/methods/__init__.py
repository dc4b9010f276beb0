"""What a method decides: a file for each paper, a folder where a paper needs more, and the table of methods.

To add one: write its file, and name its class here. A method of your own needs no change here: a scenario can name it
as ``my_package.my_module:MyMethod``.
"""

from typing import TYPE_CHECKING

from interlude.simulator.errors import BadInputError, nearest
from interlude.simulator.importing import ImportTable

if TYPE_CHECKING:
    from interlude.simulator.methods.base import Method

_HERE = "interlude.simulator.methods"

PLACES = {
    "fedavg": f"{_HERE}.fedavg:FedAvg",
    "fedasync": f"{_HERE}.fedasync:FedAsync",
    "fedbuff": f"{_HERE}.fedbuff:FedBuff",
    "aso-fed": f"{_HERE}.asofed:ASOFed",
    "fedat": f"{_HERE}.fedat:FedAT",
    "async-drop": f"{_HERE}.asyncdrop:AsyncDrop",
    "fedac": f"{_HERE}.fedac:FedAC",
    "timelyfl": f"{_HERE}.timelyfl:TimelyFL",
    "fedcompass": f"{_HERE}.fedcompass.method:FedCompass",
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
    "ca2fl": f"{_HERE}.ca2fl:CA2FL",
    "fadas": f"{_HERE}.fadas:FADAS",
    "fedfa": f"{_HERE}.fedfa:FedFa",
    "ace": f"{_HERE}.ace:ACE",
    "asyncfeded": f"{_HERE}.asyncfeded:AsyncFedED",
    "port": f"{_HERE}.port:Port",
    "pisces": f"{_HERE}.pisces:Pisces",
    "fedasmu": f"{_HERE}.fedasmu:FedASMU",
    "agm": f"{_HERE}.agm:AGM",
    "gblending": f"{_HERE}.gblending.method:GBlending",
    "greedy": f"{_HERE}.greedy:Greedy",
    "fednh": f"{_HERE}.fednh:FedNH",
    "fedpac": f"{_HERE}.fedpac.method:FedPAC",
    "mfedmc": f"{_HERE}.mfedmc.method:MFedMC",
    "harmony": f"{_HERE}.harmony.method:Harmony",
}
"""The names of methods, and where each class is."""

METHODS: "ImportTable[type[Method]]" = ImportTable(PLACES)
"""The methods; a class is imported when it is asked for."""


def check_name(name: str, where: str | None = None) -> None:
    """Refuse a name that is neither a method's nor of the form ``package.module:Class``.

    Args:
        name: the name.
        where: the field that holds it, for the sentence.

    Raises:
        BadInputError: with the names that there are.
    """
    if name not in METHODS and ":" not in name:
        known = f"methods are {', '.join(METHODS)}, or your own as 'package.module:Class'"
        said = f"unknown method '{name}'; {known}{nearest(name, METHODS)}"
        raise BadInputError(said if where is None else f"{where}: {said}")
