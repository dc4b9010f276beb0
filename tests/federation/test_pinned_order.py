"""The order of events of every shipped scenario, pinned: no machine, and no change that is not meant to, may move it.

To pin a new scenario, or one whose order was meant to change, copy the hash from the failing test's message.
"""

import pytest

from simulator import run_scenario
from simulator.scenario import load_scenarios

UNTIL_S = 60

PINNED: dict[str, dict[str, str]] = {
    "mba_ablation": {
        "nothing": "1af8b9441fe43e5497bc353ef6e729901893337df94674c514de2aec43044c8d",
        "gap-training": "456ace6fd679462cfbac54977c67aeb77f568a82abb04a76502611183af88f38",
        "gap-training-anchors": "49a56755018829d2429c609ebcbdebcb62eccc1e19aebf94efc8878d2c1d3a56",
        "gap-training-decoupled": "49a56755018829d2429c609ebcbdebcb62eccc1e19aebf94efc8878d2c1d3a56",
        "everything": "49a56755018829d2429c609ebcbdebcb62eccc1e19aebf94efc8878d2c1d3a56",
    },
    "mba_arrival_order-weak-first": {
        "fedasync-all": "7aed7709192bc6f30558d32548595e4786411b133d2edfa9b6d70f464b0f5d09",
        "fedasync-first": "9bb5dae7446b67fc92e34de4e6238afc75d4501adf257b083736f75def124525",
        "mba-gamma-0": "3966a2f7b21661b7be6458a39d9b4f9ebaf8bbefa61bf4e8adbee497f35f90ca",
        "mba": "3966a2f7b21661b7be6458a39d9b4f9ebaf8bbefa61bf4e8adbee497f35f90ca",
        "mba-gamma-2": "3966a2f7b21661b7be6458a39d9b4f9ebaf8bbefa61bf4e8adbee497f35f90ca",
        "mba-near": "3966a2f7b21661b7be6458a39d9b4f9ebaf8bbefa61bf4e8adbee497f35f90ca",
    },
    "mba_arrival_order-dominant-first": {
        "fedasync-all": "ed881f3c6ab95c2285acc089f227f3b69eb0093b35547d49067ce5422496636e",
        "fedasync-first": "2bd97c223f188cde52e935f7d782c4ae94fb7bc9f20f1e8b17194b5f47d936fe",
        "mba-gamma-0": "05441ac640cbc8481b0cd6c452f9abc207c3834c872be573750fba5bc2195113",
        "mba": "05441ac640cbc8481b0cd6c452f9abc207c3834c872be573750fba5bc2195113",
        "mba-gamma-2": "05441ac640cbc8481b0cd6c452f9abc207c3834c872be573750fba5bc2195113",
        "mba-near": "05441ac640cbc8481b0cd6c452f9abc207c3834c872be573750fba5bc2195113",
    },
    "mba_arrival_order-clients-differ": {
        "fedasync-all": "83539ee6f42888a02e9a3dc698a3c168d2cda97a9dc360e3f0dded522d23f5b8",
        "fedasync-first": "a6836bdfc5ae3623bc6c44546f00b4d11cb5abe9144187629cf6a6c19581d6e6",
        "mba-gamma-0": "b91489ceefae5de541a88523b9f4aee1a2e07329a959a1912dee7d4319d1570a",
        "mba": "b91489ceefae5de541a88523b9f4aee1a2e07329a959a1912dee7d4319d1570a",
        "mba-gamma-2": "b91489ceefae5de541a88523b9f4aee1a2e07329a959a1912dee7d4319d1570a",
        "mba-near": "b91489ceefae5de541a88523b9f4aee1a2e07329a959a1912dee7d4319d1570a",
    },
    "mba_arrival_order-together": {
        "fedasync-all": "6e7231538879cc5d399fc963fa380e15c8b9e7fa5a2eef5b4bc9af9fc1a117f8",
        "fedasync-first": "6e7231538879cc5d399fc963fa380e15c8b9e7fa5a2eef5b4bc9af9fc1a117f8",
        "mba-gamma-0": "6e7231538879cc5d399fc963fa380e15c8b9e7fa5a2eef5b4bc9af9fc1a117f8",
        "mba": "6e7231538879cc5d399fc963fa380e15c8b9e7fa5a2eef5b4bc9af9fc1a117f8",
        "mba-gamma-2": "6e7231538879cc5d399fc963fa380e15c8b9e7fa5a2eef5b4bc9af9fc1a117f8",
        "mba-near": "6e7231538879cc5d399fc963fa380e15c8b9e7fa5a2eef5b4bc9af9fc1a117f8",
    },
    "mba_vs_synchronous": {
        "mba": "49a56755018829d2429c609ebcbdebcb62eccc1e19aebf94efc8878d2c1d3a56",
        "bmsfed": "89f8beed21b83b0a36d7adda89a8edd7ad1ded7e0d460e41574ae2682d14aa85",
        "fedcmi": "fabbf3d81dca520c8eefb98c53ee7de67033350ba419d6b8717e5325492d4b20",
        "fedmchain": "7020dbb19aa11d78c08924db669f5c45e5c8be4adf27855a1946fd959b546898",
        "fedavg": "4e0e5baefaad107ea497e22a39dc08a8062f60d3cb097f4e8c0caf376ff799db",
        "fedasync-all": "1af8b9441fe43e5497bc353ef6e729901893337df94674c514de2aec43044c8d",
        "fedasync-first": "89040520abc35141f3204ad40012a61411d9e31c33a69407bd9dd391c3f84858",
    },
    "quickstart": {
        "fedavg": "4e0e5baefaad107ea497e22a39dc08a8062f60d3cb097f4e8c0caf376ff799db",
        "fedasync-all": "1af8b9441fe43e5497bc353ef6e729901893337df94674c514de2aec43044c8d",
        "fedasync-first": "89040520abc35141f3204ad40012a61411d9e31c33a69407bd9dd391c3f84858",
        "mba": "49a56755018829d2429c609ebcbdebcb62eccc1e19aebf94efc8878d2c1d3a56",
    },
}
"""Scenario (or its variant) -> label -> SHA-256 of its first minute's order."""


@pytest.fixture(scope="module")
def scenarios(pytestconfig):
    paths = sorted((pytestconfig.rootpath / "scenarios").rglob("*.yaml"))
    overrides = [f"until.simulated_s={UNTIL_S}"]
    return {scenario.name: scenario for path in paths for scenario in load_scenarios(path, overrides)}


def test_every_shipped_scenario_is_pinned(scenarios):
    assert scenarios.keys() == PINNED.keys()


@pytest.mark.parametrize("name", PINNED)
def test_the_order_of_events_is_the_pinned_one(scenarios, tmp_path, name):
    records = run_scenario(scenarios[name], runs=tmp_path, device="cpu", timing_only=True)
    assert {record.label: record.info["totals"]["order_sha256"] for record in records} == PINNED[name]
