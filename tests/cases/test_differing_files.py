"""Runs are paired and drawn together only if they read the same files, with the same code, on the same device."""

import pytest
from written_runs import write_run

from interlude.analysis import figures
from interlude.analysis.choices import Choices
from interlude.analysis.commands import plot_runs
from interlude.analysis.figures import draw
from interlude.analysis.report import report_page
from interlude.analysis.runs import by_scenario
from interlude.simulator.errors import BadInputError

FILE = {"files": {"av.csv": "11" * 32}}
OTHERS = [
    ({"files": {"av.csv": "22" * 32}}, "the file av.csv: 111111111111, 222222222222"),
    ({**FILE, "device": "cuda"}, "device: cpu, cuda"),
    ({**FILE, "code": "e"}, "the code: c, e"),
    ({**FILE, "timing_only": True}, "timing_only: false, true"),
]


@pytest.mark.parametrize(("other", "said"), OTHERS)
def test_what_differs_is_named_and_nothing_is_paired(tmp_path, other, said):
    records = [write_run(tmp_path, "fedavg", **FILE), write_run(tmp_path, "mba", **other)]
    assert list(by_scenario(records)) == ["base", "base-2"]
    for kind in ("accuracy-vs-time", "speedup", "efficiency"):
        with pytest.raises(BadInputError) as caught:
            draw(records, [kind])
        assert said in str(caught.value)
        assert len(str(caught.value)) < 400


def test_a_report_and_plots_keep_such_runs_apart_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "KINDS", {"efficiency": figures.KINDS["efficiency"]})
    records = [write_run(tmp_path, "fedavg", **FILE), write_run(tmp_path, "mba", files={"av.csv": "22" * 32})]
    files, sentences = plot_runs([tmp_path], [], tmp_path / "out", "svg", Choices())
    said = "base-2 (mba) is kept apart from base (fedavg): they differ in the file av.csv: 111111111111, 222222222222"
    assert said in sentences
    assert {file.parent.name for file in files if file.name == "efficiency.svg"} == {"base", "base-2"}
    page = report_page(records, [], "interlude report")
    assert said in page
    assert "Differences from" not in page


def test_seeds_with_another_file_are_no_seeds_of_one_mean(tmp_path):
    records = [write_run(tmp_path, "mba", seed, files={"av.csv": f"{seed}" * 64}) for seed in range(3)]
    assert len(by_scenario(records)) == 3


def test_worlds_may_read_files_of_their_own(tmp_path):
    records = [
        write_run(tmp_path, "mba", point=f"base-{name}", changes={"world": {"file": name}}, files={name: name * 8})
        for name in ("a.csv", "b.csv")
    ]
    assert len(draw(records, ["worlds"])[0]) == 1


def test_a_method_of_a_users_own_is_compared_with_the_others(tmp_path):
    """Its file is counted with its code, so its digest is another one in the same version of the simulator."""
    records = [write_run(tmp_path, "fedavg"), write_run(tmp_path, "own", options={"name": "mine:Own"}, code="e")]
    assert len(by_scenario(records)) == 1
