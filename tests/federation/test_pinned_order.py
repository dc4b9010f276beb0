"""The order of events of every shipped scenario, pinned: no machine, and no change that is not meant to, may move it.

Scenarios on data sets that are not below INTERLUDE_DATA are skipped.

To pin a new scenario, or one whose order was meant to change, copy the hash from the failing test's message.
"""

import os

import pytest

from interlude import run_scenario
from interlude.simulator.errors import BadInputError
from interlude.simulator.scenario.documents import load_documents
from interlude.simulator.scenario.loading import load_scenarios
from interlude.simulator.sweep import load_sweep

UNTIL_S = 60

_CGMNIST_SMALL = {
    "fedavg": "b392aa38d1ad0d64febabeb079dfe31dce385739dc5b9a748747717201fd81ac",
    "fedprox": "b392aa38d1ad0d64febabeb079dfe31dce385739dc5b9a748747717201fd81ac",
    "fedproto": "8d12924257741a919ddac37c5899ec670b7945f188bea55cd8c345f6fdfba248",
    "fedogm": "54655d462f94304ea23f1a9ff3cc133a47fcc9df462b428c2270e9fedcdec134",
    "fedpmr": "54655d462f94304ea23f1a9ff3cc133a47fcc9df462b428c2270e9fedcdec134",
    "pow-d": "58c3e706ea3e5bfe6a49a685b7f00b785aa838ff29eca839e08b9866d56c1fc8",
    "divfl": "08db87140fd229abc736e5347df5db4d5ad3bb90c94c778609d80ba11e8edbd4",
    "fedmsplit": "7cf8f4534701394dafa293903864f6272661ba1e24fc447c5b2de8975306895e",
    "bmsfed": "73f6e4d50e250d18396026c0b575a6089443b10d93a621ff905aa30839ff98ef",
    "bmsfed-code": "4b46bf0636d3540823bd757ff45ab01fe89eb4467d8ddce3077d181ac99c4c31",
}
"""Whatever the partition: every client's window has 256 samples."""

PINNED: dict[str, dict[str, str]] = {
    "mba_ablation": {
        "nothing": "cbb00a91a7fe69c1c8f552f41c77bb809bb2209c8751878fa378dcea957e64e5",
        "gap-training": "6a882ab9cad86bf2c2717e4c811f9b965841211489d765ad28ea5ae4a6b4b692",
        "gap-training-late-term": "9b1b98f0ad5f19570c38747ce484d3255ca7bfc3e9ed2f7b0426b02fb5c4602c",
        "gap-training-late-term-anchors": "28ad70c570a2d22ad94aa20d11cd62e1308b3a4947454ba15b2d081d2825fb91",
        "everything": "c7e592463608d64da483c79850ddd3f30e8074245c2d1c9cd09cd3954012575a",
        "everything-but-anchors": "736b9660946025508049de9d58791a5d059bb3e4f958d001a28c88ba457eb91b",
        "everything-but-late-term": "52c11dc0050cbae8d866c18c12519cd556d6f6b04a273afc83428cdffa869464",
        "everything-but-gap-training": "99323cc469cfa84d4ec3859bb5451b70d13d3b26be3ce9ef52dadbb246148528",
    },
    "mba_arrival_order-weak-first": {
        "fedasync-all": "3cad90855e674e74b71ecd61b13641a00b69c07fc1953e86ab3b26614e222e07",
        "fedasync-first": "86aafded0e0a11f53d23e84e4ad57f86dbdafb4e45364e33de473411c9ce09ed",
        "mba-gamma-0": "73c41d4213b6f4641797e5351c7a39169c682b8f8edf94c0580afca7146b91de",
        "mba": "73c41d4213b6f4641797e5351c7a39169c682b8f8edf94c0580afca7146b91de",
        "mba-gamma-2": "73c41d4213b6f4641797e5351c7a39169c682b8f8edf94c0580afca7146b91de",
        "mba-near": "73c41d4213b6f4641797e5351c7a39169c682b8f8edf94c0580afca7146b91de",
        "mba-drift": "c83dd02b53c7e45f6dcce08729f5729eca409c7808795b2d5dd7d8fe6cd78781",
    },
    "mba_arrival_order-dominant-first": {
        "fedasync-all": "bfd92f4a70763a6498db5406260d718d2d2ceaf307012faffe4e7a82b00ce5aa",
        "fedasync-first": "946833e5cdcd09927e28b9a4807ecd516dec41e90ee2d58c551f5c110fd7320c",
        "mba-gamma-0": "04400bb8c601d1d4b966b4026f0e51a25268d25e8d3edab02db3988b889373df",
        "mba": "04400bb8c601d1d4b966b4026f0e51a25268d25e8d3edab02db3988b889373df",
        "mba-gamma-2": "04400bb8c601d1d4b966b4026f0e51a25268d25e8d3edab02db3988b889373df",
        "mba-near": "04400bb8c601d1d4b966b4026f0e51a25268d25e8d3edab02db3988b889373df",
        "mba-drift": "d423d0226dfad68ef9bb1b77f1a98b8c9ce50bdabe6a24ba2c3f5a3a8a9d2b2b",
    },
    "mba_arrival_order-clients-differ": {
        "fedasync-all": "c130760858f9cd2662808215cdde56b8b0f8e1838c0c11ffcf1d14ae153cb588",
        "fedasync-first": "fbe1e21b466c88eff42087d00a7511b28a3c96b9d1e745a2e5d3f56becd32ac7",
        "mba-gamma-0": "ac08d2c2fa7f8ccaa7ea7bb585789e0009a32aa92ea94e3b61d23a2e277db3cd",
        "mba": "ac08d2c2fa7f8ccaa7ea7bb585789e0009a32aa92ea94e3b61d23a2e277db3cd",
        "mba-gamma-2": "ac08d2c2fa7f8ccaa7ea7bb585789e0009a32aa92ea94e3b61d23a2e277db3cd",
        "mba-near": "ac08d2c2fa7f8ccaa7ea7bb585789e0009a32aa92ea94e3b61d23a2e277db3cd",
        "mba-drift": "fb181b70b699d5c95cb5013149e9a882e437a83b87740acdd122d84b64dc90ee",
    },
    "mba_arrival_order-together": {
        "fedasync-all": "3d9f7aafa55fe4b82e2c4ecdb96318b6945af6c9bb90959294ba62318b9dab9a",
        "fedasync-first": "3d9f7aafa55fe4b82e2c4ecdb96318b6945af6c9bb90959294ba62318b9dab9a",
        "mba-gamma-0": "022a9a287634102e855257ca865e681cfa5b1237c010d0d6d0a20032c6e56843",
        "mba": "022a9a287634102e855257ca865e681cfa5b1237c010d0d6d0a20032c6e56843",
        "mba-gamma-2": "022a9a287634102e855257ca865e681cfa5b1237c010d0d6d0a20032c6e56843",
        "mba-near": "022a9a287634102e855257ca865e681cfa5b1237c010d0d6d0a20032c6e56843",
        "mba-drift": "317592de7a93470a28c0150342d119be078a7644b93466a35a594ad2442e2e28",
    },
    "mba_readings-weak-first-test_correlation-0.0_local_epochs-1": {
        "r0-drift": "fe52f0cbf95b6cdeb4b6ee8a1aaca3e46f01fb7c14f016c4966b2d7b9bdef048",
        "r1-displacement": "fe52f0cbf95b6cdeb4b6ee8a1aaca3e46f01fb7c14f016c4966b2d7b9bdef048",
        "r2-late-term": "a6f907ee35dc6a14e2d967c1d0e814e7dbeb09b1cb436367e0a68b41bedcfe8a",
        "r3-prediction": "35eae28546c58eb9abc5489baa233a5f6ad145ee80c47ce7fb0b470d3a9be1f1",
        "r4-input": "81d58dbe8c03396a8eab53f994b95ec840641d13bf27fd9fba2eb22a0f6fe7db",
        "r2-r3": "98fbeea69319896d36a40e44ff0bc715dd7115d3fb67eeb19230665e605b1928",
        "r2-r4": "3864b33c9c810bab505100645b76624a831236a3fe701828f59471561a2314ef",
        "r2-r3-r4": "61ac0b2c9423820a7fcf344fbf686337b34eb3840b4becf362f98082b1989aa3",
        "gap-training": "cedc30b05f6d629d061f710bc79660a8aaea5c5f777bcfcae91bbf28de79d99e",
        "fedasync-all": "80a2ef2c1bdc4a62614386a54fd217b0b626d6afa99d9242ee258cb47ac52500",
        "r2-r3-no-gaps": "73cde771e6015a25a9a8c6c96cee381f607de5f2d2e46c75a1d55b681f9c2f5f",
        "r2-r3-no-anchors": "ad0202a86065a1e09894ba208b132d4f6c68987f2e4e1e5fc6d570c7950613c4",
        "r2-r3-no-imbalance": "841c3c70019b5dba15eceb590e2165239e30809391e248f3c62b90571b4a13f5",
    },
    "mba_readings_cgmnist-weak-first-test_correlation-0.0_local_epochs-1": {
        "r0-drift": "648a2270a3f77a02f09ade45f9a25440a13f50c617bd32dfb0f4eef6266b4e73",
        "r1-displacement": "648a2270a3f77a02f09ade45f9a25440a13f50c617bd32dfb0f4eef6266b4e73",
        "r2-late-term": "78c7fe34769ca362ba34d996980c7af258c33b9bb20b93f5a70c1c9b17c0c47a",
        "r3-prediction": "5ddd5f5f8358b61908ad96aa983f1e4241e785145f82db44734710615f6d5d18",
        "r4-input": "7fc2696ce3ff0d3cf933355abbc28210934b7bd98c6f67ae9aa8657b4aaea538",
        "r2-r3": "5ddd5f5f8358b61908ad96aa983f1e4241e785145f82db44734710615f6d5d18",
        "r2-r4": "7fc2696ce3ff0d3cf933355abbc28210934b7bd98c6f67ae9aa8657b4aaea538",
        "r2-r3-r4": "87f64a8e8e851a6d5238917ca6e15fef6a9bdb44f975b55952c848569cc75786",
        "gap-training": "48e876e673fe52374c795b9b84726bde4dd1d6a19f84d17375b59e78c95668a7",
        "fedasync-all": "e799f16c8195de33d0098a9fec6f05a129ab8af2243caa8cafe431b842377106",
        "r2-r3-no-gaps": "58206631d9deb394b5022efbd98e234e873d543bcf8034718e5721746ea6bdd9",
        "r2-r3-no-anchors": "a93c5995479e5b76f1bad2a55aa08c44def11a0043baf86bef55291dce92633f",
        "r2-r3-no-imbalance": "38494d0379da57d882bc05b5825ba5e1319c5c35389d7a9d3fd5c628cf817182",
    },
    "mba_readings_har-weak-first-local_epochs-1": {
        "r0-drift": "d9ae3b4b55e566f04ffe87b8b331c963c48b5ebdfde0f950832aa13153b56397",
        "r1-displacement": "d9ae3b4b55e566f04ffe87b8b331c963c48b5ebdfde0f950832aa13153b56397",
        "r2-late-term": "d9ae3b4b55e566f04ffe87b8b331c963c48b5ebdfde0f950832aa13153b56397",
        "r3-prediction": "4aa8e76ed8a9ef4acbd6214dc34f300b87a65209d9ed62ed874c96aad5174188",
        "r4-input": "4217bdb02e3a8a9381b7daadf6aa3cfa18155b29c1e9390f614073f4d24b7eca",
        "r2-r3": "4aa8e76ed8a9ef4acbd6214dc34f300b87a65209d9ed62ed874c96aad5174188",
        "r2-r4": "4217bdb02e3a8a9381b7daadf6aa3cfa18155b29c1e9390f614073f4d24b7eca",
        "r2-r3-r4": "87fcb4f8fca361d0d3a255361f324bbe2ab77a26affc7d97c7daa93a71e2dac4",
        "gap-training": "7ebf7cd72ce1cce3c92386e09b8f48e1c37e2ce22b676e6eb9b47ccab7248fb8",
        "fedasync-all": "95dbeacd94446f83d4114c03632243f5e7f28ea7eb610f5b8ed1900a4fc0f45c",
        "r2-r3-no-gaps": "2c4aa1a9843a94035bf84a9531d628cf8375cef559ed79f896f465e77b662805",
        "r2-r3-no-anchors": "d9ae3b4b55e566f04ffe87b8b331c963c48b5ebdfde0f950832aa13153b56397",
        "r2-r3-no-imbalance": "b1aa5a421ede75738182a7c37fda9b166becfd7d6a4c4cd8672c06310315ca52",
    },
    "mba_readings_watch-weak-first-local_epochs-1": {
        "r0-drift": "a99e8293e5698c64d5f4debb7375027bf4c958693db74d53377d719977663653",
        "r1-displacement": "a99e8293e5698c64d5f4debb7375027bf4c958693db74d53377d719977663653",
        "r2-late-term": "a99e8293e5698c64d5f4debb7375027bf4c958693db74d53377d719977663653",
        "r3-prediction": "69b5952e152ea4c33b24dff4fbb79f3e6c04060bcc788a7a4b9407910b7c14eb",
        "r4-input": "3d8e91f764e8fd31113413528d2c79ddc82d6a350031e6c9fc352f0bfc39d469",
        "r2-r3": "86cf1ed5b90fa3963272cdedf705a0980ddd3d1ce921edced54b2e3aa70a837e",
        "r2-r4": "3d8e91f764e8fd31113413528d2c79ddc82d6a350031e6c9fc352f0bfc39d469",
        "r2-r3-r4": "812128a4e6dceb92a6c03e6738eb3027088fcb4f3b001af68f32ebc1e225fdd7",
        "gap-training": "9a26c21d49b221ee7b57643c608cb9f04b3305e4fab1a54ee8ff930fcc24f4ea",
        "fedasync-all": "14e6b0c838916411189199346dc311d25408adc2b4a8d70d80cbeb5f60e23eb9",
        "r2-r3-no-gaps": "8d2d1a8fc268dd4985dfd30e3d52a8dfa69c3769ebf14e9f7380b24b629de67b",
        "r2-r3-no-anchors": "a99e8293e5698c64d5f4debb7375027bf4c958693db74d53377d719977663653",
        "r2-r3-no-imbalance": "a06d51ceae479d84846c82c80ad832b69fddf7e43a80c9b516050722ddbab926",
    },
    "mba_vs_synchronous-test_correlation-0.0": {
        "mba": "11f6e740efdb58df6e8e6d877a1da31164d1c42d6bbb230e6b44f49829ba678a",
        "bmsfed": "4b604f24a62f3d1349d4c7738896c50c48dee00cb999c07bf1fae396088f783b",
        "bmsfed-5": "513d4e891a98d0dccf60029ab6034eb8c905743929082c123903473381f50704",
        "fedcmi": "075a07471a29731216797f68040a6d478c4188a97a00d0f29e4fcdb33676b71a",
        "fedmchain": "bca18f237583f878844efa6ea9ab830bf90d5a5fc2ed7d2773650374a7cf6b19",
        "fedmchain-1": "989d47a44cd93ce2d7083bcc096dfd6dfa5aa38482929a49b251c6fe23fba3a4",
        "fedavg": "88051158e88e9f52882429d335f84e104362d1d796824c403d4c4686162b5861",
        "fedasync-all": "f3b0ce9d35e55cb62a53fc51f0092cdf5c637aa0116e1d87ed2b4ec671e91ca9",
        "fedasync-first": "8665206d8990121bae29b66a023eabd9019c0daa00ce3a3217d03a8d9bb63965",
    },
    "quickstart": {
        "fedavg": "8b422e1e9e1b58377be0f66099791d9626fe654fe052fa95bd771bb8dff091d5",
        "fedasync-all": "cbb00a91a7fe69c1c8f552f41c77bb809bb2209c8751878fa378dcea957e64e5",
        "fedasync-first": "6c7c26e02c22f3a0eedc3140855a0856ce31cf288cec57b291f2ee34151e147c",
        "mba": "c7e592463608d64da483c79850ddd3f30e8074245c2d1c9cd09cd3954012575a",
    },
    "failing_world": {
        "fedavg": "97697b73c0030d302abc98a452697688ff1e640af9ec64407902e8aa124a4eb1",
        "fedasync": "f55effd62d40df295d865fac248aa00103c5fc3221c239842ec89c9fe4f2f70f",
        "mba": "3216153e72e70569afe926f0c9e5f5f8dc77973ee62b5f4e07f6de1a9d8209de",
    },
    "asynchrony_dial-0-none": {
        "mba": "1b819b04089ff3f1f47f19a8d99de31d70a117731a65098ff90d2d8f25da3586",
        "fedavg": "bae519a1edbf508026f38affb82070be6468a13512746b0187235be4b87426fb",
        "fedasync-all": "cdde4dec5ac790bda36bd336c27466676609616927b6779e00146b0bef704fc0",
        "fedasync-first": "cdde4dec5ac790bda36bd336c27466676609616927b6779e00146b0bef704fc0",
    },
    "client_scaling-clients-16": {
        "mba": "c7e592463608d64da483c79850ddd3f30e8074245c2d1c9cd09cd3954012575a",
        "bmsfed": "e6e361b481f44fef593a0dbbe6820c3981006f11c8499435d5645d8f06862676",
        "fedcmi": "5a3f64eb527b696e3a5c0b01c0940d19f07ed021be4a02e53272380fbed830b7",
        "fedmchain": "c2d6a49dc77a808e0732a48061760ddf770cbe286e0e551e2561cf141345c839",
        "fedavg": "8b422e1e9e1b58377be0f66099791d9626fe654fe052fa95bd771bb8dff091d5",
        "fedasync": "cbb00a91a7fe69c1c8f552f41c77bb809bb2209c8751878fa378dcea957e64e5",
    },
    "har_subjects": {
        "mba": "596682a00732b50be19645cdb9783e78bdb130da4995dd0182028802522a52c6",
        "bmsfed": "67e127661fbdbb88b37acae70db9a95bd9035d6ec7ca5247ce1c0f28deee79db",
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
        "bmsfed-code": "44e84f0b149401df490f52253ded6491eb1ece4537ad2f54c58c0e62f2a8177d",
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
        "bmsfed": "374d9da910c8c8c04fa03a634a272beda1b2462dd911ac996e8c424157bbbdc1",
        "bmsfed-code": "374d9da910c8c8c04fa03a634a272beda1b2462dd911ac996e8c424157bbbdc1",
    },
    "bmsfed_cgmnist_small-iid": _CGMNIST_SMALL,
    "bmsfed_cgmnist_small-dir2": _CGMNIST_SMALL,
    "sensitivity_beta_gamma-beta-0.0_gamma-0.0": {
        "mba": "202faa927113196eae4446a7bb332f6314ae6ad1491671033ceb8b6b19502577",
    },
    "phones_synthetic-always-there": {
        "fedavg": "fdeaab6a4c5677ab5716902cc395f61dde7d57a0d98a6fcaab00b72836127cad",
        "fedasync-all": "cb7efe06618824935d70478a5d9325730af423d1fc78585552495fa93194ae9a",
        "fedasync-first": "0bb4573469253695cd5857e6c020815cfd0c77066930db89e6305e1f01c038a8",
        "mba": "a3fe91f0c597685794550e632ee410e18f9d8986785001d71eb8963e9d9f7bb8",
    },
    "phones_synthetic-when-ready": {
        "fedavg": "a68389657a77a1392c158aad1081b2d6f5078d034a979a044c31f2416b201a89",
        "fedasync-all": "a68389657a77a1392c158aad1081b2d6f5078d034a979a044c31f2416b201a89",
        "fedasync-first": "0131514a72f1ccb1d9df7d51604b50045ae6e04341a4f248d0a14e47d85f2f96",
        "mba": "fdd449f5841b60671e8afd5da36943b0e00c7d505058a1d791e2270bad69a989",
    },
    "phones": {
        "fedavg": "6bf9f5a0d1925ede5dcc6f8cf288c056512ebaba8d8ce5d1dc15b8e0e47c6423",
        "fedasync-all": "047147c0dce17063f6ebc5d8e54b8be22dc4bcc8fc2dd0ce22d15e10f786f978",
        "fedasync-first": "3db7171340d4860aae4e94a365087954252cae330a7aaf5a2948d900c29d9c34",
        "mba": "7365c49f99c9169320e1037ec95ab53a47dc6a8cb27997edee64f50802234d87",
    },
    "lab_world": {
        "mba": "ed4ad3b0d082e4e43d9b96ef2a87552a71c28a0d996151c49d2a44f5d88ff738",
        "fedavg": "9c6fa3e9d0eb32ac9d318d82016b5f8814b15de435919717ce227ba47f68d386",
        "fedasync-all": "7607c9596b04f1a0a1a9e68f1bf4e7e0dec8589fab3bf0f8baf5881ba056813b",
        "fedasync-first": "0115e32bf28f94e8056ec9a895254a623da6293f3960f3f980af8d9d3204e1e1",
        "fedbuff": "a8b5436ad4483c029066b6d77c1ca0f8f3e83fb25e187f04b6601882deb2099a",
    },
    "mba_vs_asynchronous-test_correlation-0.0_clients-16": {
        "mba": "11f6e740efdb58df6e8e6d877a1da31164d1c42d6bbb230e6b44f49829ba678a",
        "fedasync-all": "f3b0ce9d35e55cb62a53fc51f0092cdf5c637aa0116e1d87ed2b4ec671e91ca9",
        "fedasync-first": "8665206d8990121bae29b66a023eabd9019c0daa00ce3a3217d03a8d9bb63965",
        "fedbuff-all": "851337fc8a8565ca5f26fda5b97dba577d163bbed328505df56a22985771f6b5",
        "fedbuff-first": "6cbf6ac73ad7c2cebf8958db9b5521638b7acba7e310e0e061d3b815191f04e4",
        "ca2fl-all": "851337fc8a8565ca5f26fda5b97dba577d163bbed328505df56a22985771f6b5",
        "ca2fl-first": "6cbf6ac73ad7c2cebf8958db9b5521638b7acba7e310e0e061d3b815191f04e4",
        "fadas-all": "e7f27469fb647d11c0ba7458fe827fe9878ff64097875a89757ec9724440c98d",
        "fadas-first": "3e955e00757af941f8579b2d15bf339b1ff5fc53b5970ca4abbacc5a72b064ac",
        "fedfa-all": "f3b0ce9d35e55cb62a53fc51f0092cdf5c637aa0116e1d87ed2b4ec671e91ca9",
        "fedfa-first": "8665206d8990121bae29b66a023eabd9019c0daa00ce3a3217d03a8d9bb63965",
        "ace-all": "f3b0ce9d35e55cb62a53fc51f0092cdf5c637aa0116e1d87ed2b4ec671e91ca9",
        "ace-first": "8665206d8990121bae29b66a023eabd9019c0daa00ce3a3217d03a8d9bb63965",
        "asyncfeded-all": "f3b0ce9d35e55cb62a53fc51f0092cdf5c637aa0116e1d87ed2b4ec671e91ca9",
        "asyncfeded-first": "8665206d8990121bae29b66a023eabd9019c0daa00ce3a3217d03a8d9bb63965",
        "port-all": "851337fc8a8565ca5f26fda5b97dba577d163bbed328505df56a22985771f6b5",
        "port-first": "6cbf6ac73ad7c2cebf8958db9b5521638b7acba7e310e0e061d3b815191f04e4",
        "pisces-all": "715697d76e7691cc2c8a853101f16bd5253a5c0d38c7a22994399b1b44ffa657",
        "pisces-first": "ab61623fbad475eb035a7b31af27996dcbda54d0ec304f900f842ea7884af08a",
        "fedasmu-all": "97ecc9e0ba2cdd619bab1086f5b3375538a1ed32dc29675a8972f7fca4eb94f5",
        "fedasmu-first": "8059db42cd372d734189d716d84d264a6f09652231f8009928c49a6e664a0f90",
        "aso-fed-all": "f3b0ce9d35e55cb62a53fc51f0092cdf5c637aa0116e1d87ed2b4ec671e91ca9",
        "aso-fed-first": "8665206d8990121bae29b66a023eabd9019c0daa00ce3a3217d03a8d9bb63965",
        "async-drop-all": "495022bca28982dc07fd49dbed5d903b87913f2cc765b40463c110eb7063c687",
        "async-drop-first": "103c7a789e1aebc064d3b619ef3599f999f59248a5f276f5ddf2a437a3b211b4",
        "fedac-all": "ee078711291d7e1b6ca1ac98ab72379a1081a2b9b49812388f1cde3a3633e564",
        "fedac-first": "4aba74d79f99fcd4e628ced6e60490d990b33ab9cda3d4534136a6464e2b052e",
        "fedcompass-all": "e72c9662ac9dd226b70521f0fc056063f2c26e7fbbb66650c015e5110a0a1144",
        "fedcompass-first": "3c26e1e4f3de67573dea5c676d664d0f62529ae00106703ba258aee431acc272",
    },
    "mba_vs_asynchronous_watch": {
        "mba": "ffe092de41ec6888ae415337bcea161b5c11ea05efd53e324f35f5bbf3dcce31",
        "fedasync-all": "3970180e7124ce1c39e3db0025dff3a2a5a66578899581fef50acbc95b8ebd14",
        "fedasync-first": "610ee69bd3504643ba9ef53f9a0bb10c56080d588533156ae206da4c199e3967",
        "fedbuff-all": "6cd6dd5372f9a0c12d8eabf93e92fea6d5fcf42ebc23fd4b9ab3ceff09b2aa4b",
        "fedbuff-first": "2d03e2a4aebd9993f1b0ac9eefc94a5318f340bfd79d7ab630d2a4ec2eb03ae0",
        "ca2fl-all": "6cd6dd5372f9a0c12d8eabf93e92fea6d5fcf42ebc23fd4b9ab3ceff09b2aa4b",
        "ca2fl-first": "2d03e2a4aebd9993f1b0ac9eefc94a5318f340bfd79d7ab630d2a4ec2eb03ae0",
        "fadas-all": "acfda08a1203188b21588f35d1cc3dbf58a41d074706bd9caa49eff3930f5250",
        "fadas-first": "f6fbba5fdf7e682ffc3844aff675e320c1da5dd57192f0e7960819b61e791d6e",
        "fedfa-all": "3970180e7124ce1c39e3db0025dff3a2a5a66578899581fef50acbc95b8ebd14",
        "fedfa-first": "610ee69bd3504643ba9ef53f9a0bb10c56080d588533156ae206da4c199e3967",
        "ace-all": "3970180e7124ce1c39e3db0025dff3a2a5a66578899581fef50acbc95b8ebd14",
        "ace-first": "610ee69bd3504643ba9ef53f9a0bb10c56080d588533156ae206da4c199e3967",
        "asyncfeded-all": "03c86be0227bee5b1f2b0de8351f0eeb850f7ca47f75c2b63ad3c965f406c0f7",
        "asyncfeded-first": "610ee69bd3504643ba9ef53f9a0bb10c56080d588533156ae206da4c199e3967",
        "port-all": "99d937747198d687db330bccd98d7ba7fa33aa2ba5698e563fa814989837c4c5",
        "port-first": "9fed0ac7576d13013fc80aa6d38f6931c56e14f5504d5924eb46c51ddd1f0807",
        "pisces-all": "4b1e3577b9535c06c4f14fbd92dd198861abbd55e6dbe8aca5d7d502c690b2e2",
        "pisces-first": "0b9664bf504204f860d31cdae9ffbbd3bded5e7820dbd4ca2e7886d98e17e238",
        "fedasmu-all": "93c9c6c970bf138091806f129dfdfdd860c76f27e01ebecfac05ac5dcd335ed4",
        "fedasmu-first": "fce477c23675b24bc5f197e09dece80ccfeae4d298ff9558b925a04f9d6cd743",
        "aso-fed-all": "3970180e7124ce1c39e3db0025dff3a2a5a66578899581fef50acbc95b8ebd14",
        "aso-fed-first": "610ee69bd3504643ba9ef53f9a0bb10c56080d588533156ae206da4c199e3967",
        "async-drop-all": "65e8ca2f07080e029695dde0a337c90c18cf244e98bb36d8294b494acf5d46b4",
        "async-drop-first": "6cef89e70a5c21f3153cacfed9252c9863dc49a7a5df9880ccf0b529eadffde3",
        "fedac-all": "a9956f3dca4af13898b89d96bba02aa337b557efaa198a96e654ff7df4f7c015",
        "fedac-first": "7d06958bec826c6f301c3e11e5e3a5224c93153b43e772c68c9a8dc536d9fd29",
        "fedcompass-all": "d1cafe1f20ffbfba8179448ce0403f7f71e204653be0402c5b845f75b1847e39",
        "fedcompass-first": "dc87e0fa411393c39e62b0be6e8a6fda7b900e5f9ab2b8b86c576ceaed32ef5b",
    },
    "watch_subjects": {
        "mba": "ffe092de41ec6888ae415337bcea161b5c11ea05efd53e324f35f5bbf3dcce31",
        "bmsfed": "5883b75c7c5bbfc40281650aa55d8811762db561bbd26f403cda655968ee14cb",
        "fedcmi": "ec4108149ea708b65a2743797c533aecb270e7816cc395f60b146cd0ac2e057f",
        "fedmchain": "aeedec2ee7ba9288dd2d76bdebbce48920f3cd1cd39909210f47762f25129ae2",
        "fedavg": "ec4108149ea708b65a2743797c533aecb270e7816cc395f60b146cd0ac2e057f",
        "fedasync-all": "3970180e7124ce1c39e3db0025dff3a2a5a66578899581fef50acbc95b8ebd14",
        "fedasync-first": "610ee69bd3504643ba9ef53f9a0bb10c56080d588533156ae206da4c199e3967",
        "fedbuff": "6cd6dd5372f9a0c12d8eabf93e92fea6d5fcf42ebc23fd4b9ab3ceff09b2aa4b",
    },
}
"""Scenario (or its variant, or the first point of a sweep) -> label -> SHA-256 of its first minute's order."""

READ_FILES = ("bmsfed_cgmnist", "har_subjects", "mba_readings_har", "phones")
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
            names = {name for name in PINNED if name == path.stem or name.startswith(f"{path.stem}-")}
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
    try:
        records = run_scenario(scenarios[name], runs=tmp_path, device="cpu", timing_only=True)
    except BadInputError as error:
        if not name.startswith(READ_FILES) or "INTERLUDE_DATA" in os.environ:
            raise
        pytest.skip(str(error))
    assert {record.label: record.info["totals"]["order_sha256"] for record in records} == PINNED[name]
