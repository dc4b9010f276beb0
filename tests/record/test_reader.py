"""Records are found below a directory; one of another schema is refused in one sentence."""

import json

import pytest

import interlude
from interlude.simulator.errors import BadInputError
from interlude.simulator.record.reader import SCHEMA_VERSION, RunRecord, with_other_seeds

INFO = {"schema": SCHEMA_VERSION, "status": "complete", "label": "fedavg", "seed": 0, "scenario": {"name": "tiny"}}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a run.json, changed, into a directory below the runs."""

    def run(where, **changes):
        path = tmp_path / "runs" / where
        path.mkdir(parents=True)
        (path / "run.json").write_text(json.dumps({**INFO, **changes}))
        return path

    return run


def test_complete_runs_are_loaded_in_the_order_of_names_with_numbers_as_numbers(write, tmp_path):
    write("clients-100/fedavg-s0")
    write("clients-16/mba-s0", label="mba")
    write("clients-16/fedavg-s10", seed=10)
    write("clients-16/fedavg-s9", seed=9)
    write("clients-16/fedavg-s1", seed=1, status="failed")
    found = [
        record.path.relative_to(tmp_path / "runs").as_posix() for record in interlude.load_records(tmp_path / "runs")
    ]
    assert found == ["clients-16/fedavg-s9", "clients-16/fedavg-s10", "clients-16/mba-s0", "clients-100/fedavg-s0"]


def test_a_run_directory_itself_is_loaded(write):
    (record,) = interlude.load_records(write("tiny/fedavg-s0"))
    assert record.label == "fedavg"


def test_a_notebook_shows_a_record_and_a_scenario_escaped(write, scenario_with):
    record = RunRecord(write("tiny/fedavg-s0", scenario={"name": "a<b"}))
    assert "<th>scenario</th><td>a&lt;b</td>" in record._repr_html_()
    shown = interlude.parse_scenario(scenario_with())._repr_html_()
    assert shown.startswith("<pre>name: tiny")
    assert "every_s: 10" in shown


@pytest.mark.parametrize(("where", "said"), [("missing", "does not exist"), ("", "holds no run directory")])
def test_where_there_is_no_run_that_is_said(tmp_path, where, said):
    with pytest.raises(BadInputError, match=said):
        interlude.load_records(tmp_path / where)


@pytest.mark.parametrize(("schema", "shown"), [(None, "schema 1"), (3, "schema 3")])
def test_a_record_of_another_schema_is_refused_in_one_sentence(write, schema, shown):
    path = write("tiny/fedavg-s0", schema=schema)
    info = {key: value for key, value in json.loads((path / "run.json").read_text()).items() if value is not None}
    (path / "run.json").write_text(json.dumps(info))
    with pytest.raises(BadInputError) as caught:
        RunRecord(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: is a record of {shown}, but this version reads schema {SCHEMA_VERSION}; ")
    assert "run its scenario again" in message
    assert "\n" not in message


def test_a_record_of_another_schema_is_no_other_seed(write):
    mine = write("tiny/fedavg-s0")
    write("tiny/fedavg-s1", seed=1, schema=1)
    assert [record.seed for record in with_other_seeds([RunRecord(mine)])] == [0]
