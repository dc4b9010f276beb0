"""The order of events of every shipped scenario, pinned: no machine, and no change that is not meant to, may move it.

Scenarios on data sets that are not below INTERLUDE_DATA are skipped.

To pin a new scenario, or one whose order was meant to change, copy the hash from the failing test's message.
"""

import pytest

from interlude import run_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.documents import load_documents
from interlude.simulator.scenario.loading import load_scenarios
from interlude.simulator.sweep import load_sweep

UNTIL_S = 60

PINNED: dict[str, dict[str, str]] = {
    "mba_ablation": {
        "nothing": "9e6d49bf06761a3d32e2d445d75bd6a8ec7459be272bf09862c7c70945706942",
        "gap-training": "5776371eabc39d907a8db875b68e5de4d6b102abe60c1617a9ad18597107eba4",
        "gap-training-anchors": "6832175c386449ee8aa286ca1e932e5e3121321a1be24bdabf2449d99798895b",
        "gap-training-decoupled": "6832175c386449ee8aa286ca1e932e5e3121321a1be24bdabf2449d99798895b",
        "everything": "6832175c386449ee8aa286ca1e932e5e3121321a1be24bdabf2449d99798895b",
    },
    "mba_arrival_order-weak-first": {
        "fedasync-all": "703fc452b155f7e3b6d675d09af342c49d2ee00d0ebd691d32d901e566f24ac2",
        "fedasync-first": "c4e8a7189f846d771ca87304eda9cac89c6dcbae4aed82e6ef0097fb5f76c72e",
        "mba-gamma-0": "40b28ab88a48059606785502f0c1b1e2f61f43d05d24af7b6f02aa70c9a690a0",
        "mba": "40b28ab88a48059606785502f0c1b1e2f61f43d05d24af7b6f02aa70c9a690a0",
        "mba-gamma-2": "40b28ab88a48059606785502f0c1b1e2f61f43d05d24af7b6f02aa70c9a690a0",
        "mba-near": "40b28ab88a48059606785502f0c1b1e2f61f43d05d24af7b6f02aa70c9a690a0",
    },
    "mba_arrival_order-dominant-first": {
        "fedasync-all": "4c915cc9e261079fdb8d0edd6c8a9cdb5f696b19a60a316961f6ef22bea4c471",
        "fedasync-first": "8365c03fa362359d79a5219bd446144e29677ba9984a604766a9f6f81640eb87",
        "mba-gamma-0": "32a9e458d76c929d89ef0b26585c68453ab2ff30ae10e13e02d6e2c657ed7b3b",
        "mba": "32a9e458d76c929d89ef0b26585c68453ab2ff30ae10e13e02d6e2c657ed7b3b",
        "mba-gamma-2": "32a9e458d76c929d89ef0b26585c68453ab2ff30ae10e13e02d6e2c657ed7b3b",
        "mba-near": "32a9e458d76c929d89ef0b26585c68453ab2ff30ae10e13e02d6e2c657ed7b3b",
    },
    "mba_arrival_order-clients-differ": {
        "fedasync-all": "c0faf3fd261d1bb534a671ad5dc2dbbace38302a3b9612e7804787023900d69d",
        "fedasync-first": "6c61b1d6c8ee1f7731538854b7b1b6858f6d615b639bab59fa067dfb07fead87",
        "mba-gamma-0": "10ed5fb357ef8a788f95db1fc016fdef5b1b95a1d268193aa0c39e070f933415",
        "mba": "10ed5fb357ef8a788f95db1fc016fdef5b1b95a1d268193aa0c39e070f933415",
        "mba-gamma-2": "10ed5fb357ef8a788f95db1fc016fdef5b1b95a1d268193aa0c39e070f933415",
        "mba-near": "10ed5fb357ef8a788f95db1fc016fdef5b1b95a1d268193aa0c39e070f933415",
    },
    "mba_arrival_order-together": {
        "fedasync-all": "511969b23bc3592b161d15089643811c7b87b3714994ea61025ff84b3db31c32",
        "fedasync-first": "511969b23bc3592b161d15089643811c7b87b3714994ea61025ff84b3db31c32",
        "mba-gamma-0": "511969b23bc3592b161d15089643811c7b87b3714994ea61025ff84b3db31c32",
        "mba": "511969b23bc3592b161d15089643811c7b87b3714994ea61025ff84b3db31c32",
        "mba-gamma-2": "511969b23bc3592b161d15089643811c7b87b3714994ea61025ff84b3db31c32",
        "mba-near": "511969b23bc3592b161d15089643811c7b87b3714994ea61025ff84b3db31c32",
    },
    "mba_vs_synchronous": {
        "mba": "6832175c386449ee8aa286ca1e932e5e3121321a1be24bdabf2449d99798895b",
        "bmsfed": "0fed2d92261e19dc65f08d3a3618b9503fa09850f2d29dc598fc84347ea70fd3",
        "bmsfed-5": "d55ee2c1885ddeee81905293c9df8c0045f710693caa719b7deeb752aa4e49a5",
        "fedcmi": "0845b6e6a51ba48774f008c0e35bbaa1f4d4f1a19044c9efdaa31b7e70d10243",
        "fedmchain": "c2d6a49dc77a808e0732a48061760ddf770cbe286e0e551e2561cf141345c839",
        "fedmchain-1": "3b99f5969346e85c424c7a23848e2921a3ba39654153874bc3fcfea0bb902eee",
        "fedavg": "8b422e1e9e1b58377be0f66099791d9626fe654fe052fa95bd771bb8dff091d5",
        "fedasync-all": "9e6d49bf06761a3d32e2d445d75bd6a8ec7459be272bf09862c7c70945706942",
        "fedasync-first": "028606256883d7424811c5550647a1d387d1efd0dede66850959fddd2abfe885",
    },
    "quickstart": {
        "fedavg": "8b422e1e9e1b58377be0f66099791d9626fe654fe052fa95bd771bb8dff091d5",
        "fedasync-all": "9e6d49bf06761a3d32e2d445d75bd6a8ec7459be272bf09862c7c70945706942",
        "fedasync-first": "028606256883d7424811c5550647a1d387d1efd0dede66850959fddd2abfe885",
        "mba": "6832175c386449ee8aa286ca1e932e5e3121321a1be24bdabf2449d99798895b",
    },
    "failing_world": {
        "fedavg": "4dc6ca34c8d2e68e98e77eaa0c0fddc03a2cf4bff82ead635d20db3806632d3f",
        "fedasync": "51323682ae8c16aec345f79eeaec34ac7ae83243a303f705b52e6112c57ca0a6",
        "mba": "887e3d56d0519ada34fdf93f1a5ad1dca92958074e44af573e7951d4d70d795b",
    },
    "asynchrony_dial-0-none": {
        "mba": "cdde4dec5ac790bda36bd336c27466676609616927b6779e00146b0bef704fc0",
        "fedavg": "bae519a1edbf508026f38affb82070be6468a13512746b0187235be4b87426fb",
        "fedasync-all": "cdde4dec5ac790bda36bd336c27466676609616927b6779e00146b0bef704fc0",
        "fedasync-first": "cdde4dec5ac790bda36bd336c27466676609616927b6779e00146b0bef704fc0",
    },
    "client_scaling-clients-16": {
        "mba": "6832175c386449ee8aa286ca1e932e5e3121321a1be24bdabf2449d99798895b",
        "bmsfed": "0fed2d92261e19dc65f08d3a3618b9503fa09850f2d29dc598fc84347ea70fd3",
        "fedcmi": "0845b6e6a51ba48774f008c0e35bbaa1f4d4f1a19044c9efdaa31b7e70d10243",
        "fedmchain": "c2d6a49dc77a808e0732a48061760ddf770cbe286e0e551e2561cf141345c839",
        "fedavg": "8b422e1e9e1b58377be0f66099791d9626fe654fe052fa95bd771bb8dff091d5",
        "fedasync": "9e6d49bf06761a3d32e2d445d75bd6a8ec7459be272bf09862c7c70945706942",
    },
    "har_subjects": {
        "mba": "c85675dfe8d2f274eed6ccb7ad624fbd43d0a385c909b93c14811c4333be1435",
        "bmsfed": "7458b0a6bd4ab50824bcbff2ab6a1a0ced0dece3e254636b171ff408a300a45a",
        "fedcmi": "5e29e2cf4e2e2ee380d488e7faa9327e466ea38907fd01ecd5a8cda6a4b52b62",
        "fedmchain": "342189663fa38adef38944f06285586816a00715f29f7894234424a4fbc541bd",
        "fedavg": "9f3fef92751885a9f330d09fa3f6dde4aa5ef92cb8e8d4dd04d9a3ef75d3731c",
        "fedasync": "25be7dea349a6c758156163a8f7fa70360d9d6d70d3138cfd7992208edf1417b",
    },
    "bmsfed_cgmnist-iid": {
        "fedavg": "a2c2b7b4c14274dae206abc12d5d8207fbc551e51b25295d5c7a22be98c99933",
        "fedprox": "a2c2b7b4c14274dae206abc12d5d8207fbc551e51b25295d5c7a22be98c99933",
        "fedproto": "a2c2b7b4c14274dae206abc12d5d8207fbc551e51b25295d5c7a22be98c99933",
        "fedogm": "d96d083c73f28cf99ad60b7a02b7e88fb78559c16d4d55e04c3d450de72ae8a2",
        "fedpmr": "d96d083c73f28cf99ad60b7a02b7e88fb78559c16d4d55e04c3d450de72ae8a2",
        "pow-d": "c64d5e9dcf2496707919c10994c4a69027fab68b01dd286029f19615be0c43a2",
        "divfl": "44e84f0b149401df490f52253ded6491eb1ece4537ad2f54c58c0e62f2a8177d",
        "fedmsplit": "a2c2b7b4c14274dae206abc12d5d8207fbc551e51b25295d5c7a22be98c99933",
        "bmsfed": "44e84f0b149401df490f52253ded6491eb1ece4537ad2f54c58c0e62f2a8177d",
    },
    "bmsfed_cgmnist-dir2": {
        "fedavg": "f3c17d463501937aedaea85c6761d61c46bdcb515a29e85f6657f273dfe4785c",
        "fedprox": "f3c17d463501937aedaea85c6761d61c46bdcb515a29e85f6657f273dfe4785c",
        "fedproto": "70c1145a86f65c830f6ff7de7795a8219a249b3c618fd1acdbe382df40d2a33d",
        "fedogm": "43e628add720df87c95d25505520c90e18d0044f3f00981c4ef2dd5b69addaad",
        "fedpmr": "43e628add720df87c95d25505520c90e18d0044f3f00981c4ef2dd5b69addaad",
        "pow-d": "05641977a0dbeb0c1ce289a38c5f254ddb322517457f667a04166908d9790dc2",
        "divfl": "22151225baebef5554273918786ebe6e79d00384642ea99b81ed0a61a49e9685",
        "fedmsplit": "f3c17d463501937aedaea85c6761d61c46bdcb515a29e85f6657f273dfe4785c",
        "bmsfed": "564f29242f6fe0302098f3c44b48c4b02b27bf98a83956aee92545b34bdfb271",
    },
    "bmsfed_cgmnist_small-iid": {
        "fedavg": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedprox": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedproto": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedogm": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedpmr": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "pow-d": "3ff1ef484474fe063d39315901310246346003607b6e37ed5f4cf2bee0cd89b4",
        "divfl": "9de6316ac5b682f5839da79ac8e1eeefe725007e48cf296a215f9829611f5cc3",
        "fedmsplit": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "bmsfed": "9de6316ac5b682f5839da79ac8e1eeefe725007e48cf296a215f9829611f5cc3",
    },
    "bmsfed_cgmnist_small-dir2": {
        "fedavg": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedprox": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedproto": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedogm": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "fedpmr": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "pow-d": "3ff1ef484474fe063d39315901310246346003607b6e37ed5f4cf2bee0cd89b4",
        "divfl": "9de6316ac5b682f5839da79ac8e1eeefe725007e48cf296a215f9829611f5cc3",
        "fedmsplit": "b65d7c2e3b8569c00137f5d3abdc3d54003e8cf6b2d42d1e7e5b12e1300ef627",
        "bmsfed": "9de6316ac5b682f5839da79ac8e1eeefe725007e48cf296a215f9829611f5cc3",
    },
    "sensitivity_beta_gamma-beta-0.0_gamma-0.0": {
        "mba": "6832175c386449ee8aa286ca1e932e5e3121321a1be24bdabf2449d99798895b",
    },
    "phones_synthetic-always-there": {
        "fedavg": "fdeaab6a4c5677ab5716902cc395f61dde7d57a0d98a6fcaab00b72836127cad",
        "fedasync-all": "a2a906f2a075e85ec0d78a973c9e8aef9b8624669a522f9e78aabc0957a39112",
        "fedasync-first": "0f6bc41a437eb3f06acf339274a0d43bcbbe6568ec8e7f6fb49641d13afbe7a5",
        "mba": "9cb47f85f7fa4533ab2472e2c9173863c53b5b7a3762ce29f4d7f02bb05145d4",
    },
    "phones_synthetic-when-ready": {
        "fedavg": "a68389657a77a1392c158aad1081b2d6f5078d034a979a044c31f2416b201a89",
        "fedasync-all": "a68389657a77a1392c158aad1081b2d6f5078d034a979a044c31f2416b201a89",
        "fedasync-first": "0131514a72f1ccb1d9df7d51604b50045ae6e04341a4f248d0a14e47d85f2f96",
        "mba": "a68389657a77a1392c158aad1081b2d6f5078d034a979a044c31f2416b201a89",
    },
    "phones": {
        "fedavg": "6bf9f5a0d1925ede5dcc6f8cf288c056512ebaba8d8ce5d1dc15b8e0e47c6423",
        "fedasync-all": "6bfa476983c34e705359159ce89bbed8469997d0f818f4afd004a5f4d4665833",
        "fedasync-first": "3db7171340d4860aae4e94a365087954252cae330a7aaf5a2948d900c29d9c34",
        "mba": "55b4c25cd16862a25a463b50bc929a960483f79eb4065f4aab1d87dd9d97be12",
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
