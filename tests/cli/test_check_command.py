"""`interlude check`: what would run, by hand where it is a number; nothing is written."""

from commands import assert_refused, files_under
from every_method import EVERY_METHOD


def test_check_says_what_would_run_and_writes_nothing(cli, scenario_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = scenario_file({"methods": list(EVERY_METHOD.values())})
    before = files_under(tmp_path)
    result = cli("check", path)
    assert result.code == 0, result.err
    said = f"{len(EVERY_METHOD)} methods, seed 0"
    for part in ("1347 training, 450 test samples", said, "30 simulated s", "upload", *EVERY_METHOD):
        assert part in result.out
    assert files_under(tmp_path) == before


def test_check_counts_bytes_and_seconds_by_hand(cli, scenario_file):
    """A width-16 MLP of float32, in bytes by group.

    encoder.gray 64 x 16 + 16 + 16 x 16 + 16 = 1312 -> 5248; encoder.color 192 x 16 + 288 = 3360 -> 13440; each head
    slice 160 -> 640, bias 10 -> 40; together 5002 parameters, 20008 bytes: up 50 ms + 160064 bit / 2 Mbit/s = 0.13 s,
    down 50 ms + 160064 bit / 8 Mbit/s = 0.07 s.
    """
    out = cli("check", scenario_file()).out
    for part in ("encoder.gray 5.2 kB", "encoder.color 13.4 kB", "head.gray 640 B", "head.bias 40 B", "20.0 kB"):
        assert part in out
    rows = {line.split()[0]: line.split()[-3:] for line in out.splitlines() if line.split()[-3:]}
    assert rows["upload"] == ["0.13"] * 3
    assert rows["download"] == ["0.07"] * 3


def test_check_says_what_the_world_gives_its_clients(cli, scenario_file):
    chain = {"kind": "markov", "policy": "lose", "on_share": 0.25, "cycle_s": 100, "join_s": 7}
    out = cli("check", scenario_file({"world.availability": chain, "world.network.uplink_mbps": 3.5})).out
    rows = {line.split("  ")[0].strip(): line.split() for line in out.splitlines()}
    assert "markov availability may lose work in progress" in out
    assert rows["share of time on"][-5:] == ["0.25"] * 5
    assert rows["uplink, mbps"][-5:] == ["3.5"] * 5
    assert float(rows["first on, s"][-5]) >= 7


def test_check_says_how_each_method_is_trained_and_why(cli, scenario_file):
    path = scenario_file({"methods": [{"name": "fedavg"}, {"name": "mba"}]})
    out = cli("check", path, "--device", "cpu").out
    assert "training on cpu" in out
    for method in ("fedavg", "mba"):
        (line,) = [line for line in out.splitlines() if line.split()[:2] == [method, "stacked"]]
        assert "stacked in groups of 64" in line
        assert "small products" in line
    out = cli("check", path, "--device", "cpu", "--set", "executor.kind=sequential").out
    assert out.count("one client after the other  as the scenario says") == 2


def test_check_takes_seed_and_set(cli, scenario_file):
    out = cli("check", scenario_file(), "--seed", 5, "--set", "clients.count=9").out
    assert "seed 5" in out
    assert "9 with" in out


def test_check_prints_nothing_of_a_sweep_that_cannot_be_tuned(cli, scenario_file):
    path = scenario_file({"sweep": {"clients.count": [2, 3]}, "tune": {"grid": {"training.local_epochs": [1, 2]}}})
    assert_refused(cli("check", path), "evaluate.validation: must be above 0")
