"""The order of events of every shipped scenario, pinned: no machine, and no change that is not meant to, may move it.

Scenarios on data sets that are not below INTERLUDE_DATA are skipped.

To pin a new scenario, or one whose order was meant to change, copy the hash from the failing test's message.
"""

import pytest

from interlude import run_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.loading import load_documents, load_scenarios
from interlude.simulator.sweep import load_sweep

UNTIL_S = 60

PINNED: dict[str, dict[str, str]] = {
    "mba_ablation": {
        "nothing": "cad9c565f780dd42a7222481b8625223cb58e899c81a6055fb381c293db76e8c",
        "gap-training": "3a30ac90236338b470d7da7afdbd2bb3eac9b797faa6c837272727f3de0e0d51",
        "gap-training-anchors": "8f4b530f5168e72da8bc2a996cb493ed231c70298a554f8a6361756107cb0fe8",
        "gap-training-decoupled": "8f4b530f5168e72da8bc2a996cb493ed231c70298a554f8a6361756107cb0fe8",
        "everything": "8f4b530f5168e72da8bc2a996cb493ed231c70298a554f8a6361756107cb0fe8",
    },
    "mba_arrival_order-weak-first": {
        "fedasync-all": "c9a4230eb2bf11148d0872b58e55316b20a4d1077af9eae1f634b57119a0dd1a",
        "fedasync-first": "f1e6bf595c0285dd5bf642a6c80ccc813eb60b26d3fdfd95b992603c185bb163",
        "mba-gamma-0": "0eeee5fa8b814c8bc032af5176706b656cb8c80ab83e2bd4f5b6b1b0e09c0769",
        "mba": "0eeee5fa8b814c8bc032af5176706b656cb8c80ab83e2bd4f5b6b1b0e09c0769",
        "mba-gamma-2": "0eeee5fa8b814c8bc032af5176706b656cb8c80ab83e2bd4f5b6b1b0e09c0769",
        "mba-near": "0eeee5fa8b814c8bc032af5176706b656cb8c80ab83e2bd4f5b6b1b0e09c0769",
    },
    "mba_arrival_order-dominant-first": {
        "fedasync-all": "d43af3dd1cb860eaac051813d92d940410502bc6251c8c017c06c9bd667a9b6d",
        "fedasync-first": "9a08e706bdb55d844b99aae189acf5193dd22a03c200a57dea2035ec79c9df9d",
        "mba-gamma-0": "390696231d48397a7e7909aa28ff4dcdd12204910ebe389902b7539b6b3ffb1b",
        "mba": "390696231d48397a7e7909aa28ff4dcdd12204910ebe389902b7539b6b3ffb1b",
        "mba-gamma-2": "390696231d48397a7e7909aa28ff4dcdd12204910ebe389902b7539b6b3ffb1b",
        "mba-near": "390696231d48397a7e7909aa28ff4dcdd12204910ebe389902b7539b6b3ffb1b",
    },
    "mba_arrival_order-clients-differ": {
        "fedasync-all": "c48ad603deefe3621c919680f64abcaa262c8b9a3448fe17995884338ce99678",
        "fedasync-first": "e76c987e9b9fb95879cd0d9fabd3b28777c1faf69df18e7c2fc631f708f80354",
        "mba-gamma-0": "4c475665f555f3586fa6cdfd05d12516089b1fd8d05cebb5d1e5507638b8cc0b",
        "mba": "4c475665f555f3586fa6cdfd05d12516089b1fd8d05cebb5d1e5507638b8cc0b",
        "mba-gamma-2": "4c475665f555f3586fa6cdfd05d12516089b1fd8d05cebb5d1e5507638b8cc0b",
        "mba-near": "4c475665f555f3586fa6cdfd05d12516089b1fd8d05cebb5d1e5507638b8cc0b",
    },
    "mba_arrival_order-together": {
        "fedasync-all": "f76f0020e3f11090d6fa58b6a8b6cc80110a0e650ab245b2babe390adf761126",
        "fedasync-first": "f76f0020e3f11090d6fa58b6a8b6cc80110a0e650ab245b2babe390adf761126",
        "mba-gamma-0": "f76f0020e3f11090d6fa58b6a8b6cc80110a0e650ab245b2babe390adf761126",
        "mba": "f76f0020e3f11090d6fa58b6a8b6cc80110a0e650ab245b2babe390adf761126",
        "mba-gamma-2": "f76f0020e3f11090d6fa58b6a8b6cc80110a0e650ab245b2babe390adf761126",
        "mba-near": "f76f0020e3f11090d6fa58b6a8b6cc80110a0e650ab245b2babe390adf761126",
    },
    "mba_vs_synchronous": {
        "mba": "8f4b530f5168e72da8bc2a996cb493ed231c70298a554f8a6361756107cb0fe8",
        "bmsfed": "8bc6f0e96bdc60dabe559f4e9d7001740d85288f0990764e0177176ed39da2f9",
        "bmsfed-5": "e30f7522bc46efee61acfda14391c6574ee3971c32696cf8e1e3795f2f2361c8",
        "fedcmi": "136a45dc6e698945b43ee927565ac34c63fa2198287622a8ac88add5b30a1fd1",
        "fedmchain": "32d919e1adbf39793cb2aa28752a6c9e7d7cd888d40a36f635c7513cb023858c",
        "fedmchain-1": "091e757a5c8c8e124b92c931fdae430a81f63766e3935220d16fda965c0f6b25",
        "fedavg": "2cf21c784ade23988270ef549b3be2c1a4b158204471a9cbc16e4008f4285407",
        "fedasync-all": "cad9c565f780dd42a7222481b8625223cb58e899c81a6055fb381c293db76e8c",
        "fedasync-first": "9c6550a234af39af069b3f12ebfdbee18dcd4778643ec543170b87cbfa8e0e9e",
    },
    "quickstart": {
        "fedavg": "2cf21c784ade23988270ef549b3be2c1a4b158204471a9cbc16e4008f4285407",
        "fedasync-all": "cad9c565f780dd42a7222481b8625223cb58e899c81a6055fb381c293db76e8c",
        "fedasync-first": "9c6550a234af39af069b3f12ebfdbee18dcd4778643ec543170b87cbfa8e0e9e",
        "mba": "8f4b530f5168e72da8bc2a996cb493ed231c70298a554f8a6361756107cb0fe8",
    },
    "failing_world": {
        "fedavg": "80df5c6fd5829ce778f199cf019062fac8b66e56d3795ce2c29cb0362e24a440",
        "fedasync": "042a334045f756e6e9f6e2e6e210bf5a83e9a24a11279e6917a7d98f0eb6e3c0",
        "mba": "da4b345e768129f9b6f2d1db2decbe100aead8f2294985b837f9ccc18bf99036",
    },
    "asynchrony_dial-0-none": {
        "mba": "92986f4b40200b4ab876359d8cc43a2979ae82efc38c78b92648bdc9b053d45a",
        "fedavg": "d0c22fe3db832c757b72e5f95b9c3e145d36a289081c5645649625a424ec76df",
        "fedasync-all": "92986f4b40200b4ab876359d8cc43a2979ae82efc38c78b92648bdc9b053d45a",
        "fedasync-first": "92986f4b40200b4ab876359d8cc43a2979ae82efc38c78b92648bdc9b053d45a",
    },
    "client_scaling-clients-16": {
        "mba": "8f4b530f5168e72da8bc2a996cb493ed231c70298a554f8a6361756107cb0fe8",
        "bmsfed": "8bc6f0e96bdc60dabe559f4e9d7001740d85288f0990764e0177176ed39da2f9",
        "fedcmi": "136a45dc6e698945b43ee927565ac34c63fa2198287622a8ac88add5b30a1fd1",
        "fedmchain": "32d919e1adbf39793cb2aa28752a6c9e7d7cd888d40a36f635c7513cb023858c",
        "fedavg": "2cf21c784ade23988270ef549b3be2c1a4b158204471a9cbc16e4008f4285407",
        "fedasync": "cad9c565f780dd42a7222481b8625223cb58e899c81a6055fb381c293db76e8c",
    },
    "har_subjects": {
        "mba": "b0e085f5d063e0fd561533473f850eaad7a182c3096a6f05e57012a2ab720db5",
        "bmsfed": "3e8c6041c923c297a39d6a5207d8e94d5cf012e9dc61d3f4013d8d2aa236e1c3",
        "fedcmi": "ce4da59ae6b9f4ee5d28b540d9e0cecafb26f99d899102930f3494536a60b5c8",
        "fedmchain": "fcaa2e8a2ddbc30254f89faeeb8f0b98fc5336ea8aeeb47ba1a0872068e721f8",
        "fedavg": "ba9dcfc3dd2572646353bac638b0016c9bfd98e789fff7c4fc403ffa9c59e2e5",
        "fedasync": "4d4ce6ace4e3613d0452faafeb5bc48f8e1e98bc78ad9f21e88c86c124363ea3",
    },
    "bmsfed_cgmnist-iid": {
        "fedavg": "be93ff94bf902e40068b6ae5bbef7557360a24d12997b62f0060955138c69f19",
        "fedprox": "be93ff94bf902e40068b6ae5bbef7557360a24d12997b62f0060955138c69f19",
        "fedproto": "be93ff94bf902e40068b6ae5bbef7557360a24d12997b62f0060955138c69f19",
        "fedogm": "7cef26ec32adcde489cda1efe14c32e10f13ae5682cc591378c796374f9cf0ae",
        "fedpmr": "7cef26ec32adcde489cda1efe14c32e10f13ae5682cc591378c796374f9cf0ae",
        "pow-d": "0ca0c464b8df48ade83b2305713b057a0088a990b22f719e41b378595aa5df7f",
        "divfl": "b98beef0d74eda4763b5f84847ef5a2cd03ca1ddd258a6a055460eccb7e65809",
        "fedmsplit": "be93ff94bf902e40068b6ae5bbef7557360a24d12997b62f0060955138c69f19",
        "bmsfed": "b98beef0d74eda4763b5f84847ef5a2cd03ca1ddd258a6a055460eccb7e65809",
    },
    "bmsfed_cgmnist-dir2": {
        "fedavg": "ca92b65d4f80c6ce760ab385e06eda9225e356a12131f4e81e495755bb5f9123",
        "fedprox": "ca92b65d4f80c6ce760ab385e06eda9225e356a12131f4e81e495755bb5f9123",
        "fedproto": "47a511f2cad25c1656fc5e1d926d1499e8a5d681e5705ee3058195cb0dd23ef3",
        "fedogm": "12d9a8bcc81e954c50dab4a7818a8c8cd3778b25cb1b9802f20218b2b4118eef",
        "fedpmr": "12d9a8bcc81e954c50dab4a7818a8c8cd3778b25cb1b9802f20218b2b4118eef",
        "pow-d": "92e6d607eb62525e7b074f857a8bcdac65a8fcbdaa2517f0e82d01d56213bafa",
        "divfl": "f9b2ab46c23b5a4928b515199f431c6ee485c6834a889fa920d80f3beb1558d0",
        "fedmsplit": "ca92b65d4f80c6ce760ab385e06eda9225e356a12131f4e81e495755bb5f9123",
        "bmsfed": "2f76ac30cb052c26991d03dae659f298017647ff86f9287004dcf8cad2571ca4",
    },
    "bmsfed_cgmnist_small-iid": {
        "fedavg": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedprox": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedproto": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedogm": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedpmr": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "pow-d": "e6350fcd5d1226abb8ad075953a091aac35fc401f2a036fb9e81613b3f4eaa05",
        "divfl": "fe02551874fee3b22e9bcbccbacc03c7bb7f784437642ea08608a1a07ff045a3",
        "fedmsplit": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "bmsfed": "fe02551874fee3b22e9bcbccbacc03c7bb7f784437642ea08608a1a07ff045a3",
    },
    "bmsfed_cgmnist_small-dir2": {
        "fedavg": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedprox": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedproto": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedogm": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "fedpmr": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "pow-d": "e6350fcd5d1226abb8ad075953a091aac35fc401f2a036fb9e81613b3f4eaa05",
        "divfl": "fe02551874fee3b22e9bcbccbacc03c7bb7f784437642ea08608a1a07ff045a3",
        "fedmsplit": "295a0e11bd50735e13eed7cf0a064b5776af8b79d1c47aabb6bfb646e3da76c9",
        "bmsfed": "fe02551874fee3b22e9bcbccbacc03c7bb7f784437642ea08608a1a07ff045a3",
    },
    "sensitivity_beta_gamma-beta-0.0_gamma-0.0": {
        "mba": "8f4b530f5168e72da8bc2a996cb493ed231c70298a554f8a6361756107cb0fe8",
    },
    "phones_synthetic-always-there": {
        "fedavg": "b2332d1512e1451da641de0ab76cdbd5147261145b585f1e15bad7394c3130b0",
        "fedasync-all": "15f3369d641696db5bd3011b6a9919bf98f89bc67dc1ab7ccc739be7aa064042",
        "fedasync-first": "467297f7fcf11f978d8a61f6edb04a5d9170f2b14a90cae43a999a6e0266257c",
        "mba": "3cac8fcb4dd889ccd99d106914e5fe47881ee0ec164a33ab131d7674fbb5794a",
    },
    "phones_synthetic-when-ready": {
        "fedavg": "53c80892e5cd287d47ecfd4dbabd7f974b8a6cb5953bea97bff4f448fd7aa206",
        "fedasync-all": "53c80892e5cd287d47ecfd4dbabd7f974b8a6cb5953bea97bff4f448fd7aa206",
        "fedasync-first": "917d049d9638a6bc28e4081ccd990019e27722a1a83389bc3a21c0ba882dea15",
        "mba": "53c80892e5cd287d47ecfd4dbabd7f974b8a6cb5953bea97bff4f448fd7aa206",
    },
    "phones": {
        "fedavg": "b40a8ce338ab73b0502366e7ed7a5e34b3bb358098116c7feed02e10fdc67a3e",
        "fedasync-all": "8c63b8bc52b868d3b7280f2aa1491492bbaa7bacf922be081a450ba764bb3ffe",
        "fedasync-first": "f35c44a4038a80f87fe24b9b35f9ea4002403db096d910e82627a755d6e47cec",
        "mba": "23f51c5dabee83b46fbbd7edd5116714836f8a8f571bba35477160e76d098f14",
    },
}
"""Scenario (or its variant, or the first point of a sweep) -> label -> SHA-256 of its first minute's order."""

READ_FILES = ("bmsfed_cgmnist", "har_subjects", "phones")
"""What names of scenarios begin with whose data or traces are files of the user's."""


@pytest.fixture(scope="module")
def scenarios(pytestconfig):
    """Return the shipped scenarios by name; for those whose files are not here, the sentence that says so."""
    overrides = [f"until.simulated_s={UNTIL_S}"]
    found = {}
    for path in sorted((pytestconfig.rootpath / "scenarios").rglob("*.yaml")):
        try:
            found |= {scenario.name: scenario for scenario in shipped(path, overrides)}
        except BadInputError as error:
            names = {document["name"] for document in load_documents(path, overrides).variants}
            if not all(name.startswith(READ_FILES) for name in names):
                raise
            found |= dict.fromkeys(names, str(error))
    return found


def shipped(path, overrides):
    """Return the scenarios of a file; of a sweep the first point."""
    if load_documents(path, overrides).sweep is None:
        return load_scenarios(path, overrides)
    return load_sweep(path, overrides).scenarios[:1]


def test_every_shipped_scenario_is_pinned(scenarios):
    assert scenarios.keys() == PINNED.keys()


@pytest.mark.parametrize("name", PINNED)
def test_the_order_of_events_is_the_pinned_one(scenarios, tmp_path, name):
    if isinstance(scenarios[name], str):
        pytest.skip(scenarios[name])
    records = run_scenario(scenarios[name], runs=tmp_path, device="cpu", timing_only=True)
    assert {record.label: record.info["totals"]["order_sha256"] for record in records} == PINNED[name]
