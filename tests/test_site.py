"""The documentation: its site builds without a warning, and its notebook runs."""

import json
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from interlude.simulator.methods import METHODS

ROOT = Path(__file__).parents[1]


@pytest.mark.filterwarnings("default")  # of other people's plug-ins; MkDocs' own end a strict build
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path):
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    pages = {path.relative_to(tmp_path).parent.as_posix(): path for path in tmp_path.rglob("index.html")}
    assert {".", "notebooks/first_steps", "reference/fields/scenario"} <= pages.keys()
    assert {f"reference/methods/{name}" for name in METHODS} <= pages.keys()
    fetched = re.compile(r"""<(?:link|script|img)\b[^>]*\b(?:href|src)=["']?(?:https?:)?//""")
    assert [name for name, path in pages.items() if fetched.search(path.read_text(encoding="utf-8"))] == []


def test_the_notebook_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))
    cells = json.loads((ROOT / "docs/notebooks/first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    code = re.sub(r"^%.*$", "", "\n\n".join(sources), flags=re.MULTILINE)
    assert "until.simulated_s=60" in code
    found: dict[str, object] = {}
    with mpl.rc_context():
        exec(compile(code.replace("until.simulated_s=60", "until.simulated_s=10"), "first_steps.ipynb", "exec"), found)
    assert [record.label for record in found["records"]] == ["fedavg", "mba"]
    assert all(cell["outputs"] or "run_scenario" in "".join(cell["source"]) for cell in cells if "outputs" in cell)
