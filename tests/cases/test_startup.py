"""Commands that need no PyTorch start without it, and Ctrl-C at any moment is one sentence."""

import os
import signal
import subprocess
import sys
from textwrap import dedent

import pytest

from interlude.simulator import data, importing, methods
from interlude.simulator.cli import entry

HEAVY = {"torch", "scipy.stats", "sklearn", "pandas", "matplotlib", "simpy", "pyarrow"}
LIGHT = (
    ["--version"],
    ["--help"],
    ["run", "--help"],
    *(["list", names] for names in ("methods", "datasets", "distributions", "encoders")),
)


WRONG = {
    "syntax": "name: [x",
    "unknown key": "nmae: x",
    "wrong value": "name: x\nclients: {count: 0}",
    "unknown method": "name: x\nmethods: [{name: fedavgg}]",
    "unknown data set": "name: x\ndata: {dataset: cg-digit}",
}


def test_version_help_lists_and_mistakes_in_a_scenario_load_nothing_heavy(tmp_path):
    commands = [(arguments, 0) for arguments in LIGHT]
    for what, text in WRONG.items():
        path = tmp_path / f"{what}.yaml"
        path.write_text(text, encoding="utf-8")
        commands += [([command, str(path)], 2) for command in ("run", "check", "sweep", "calibrate")]
    program = f"""
        import sys
        from interlude.simulator.cli.main import main
        for arguments, code in {commands!r}:
            try:
                main(arguments)
            except SystemExit as ended:
                assert ended.code == code, arguments
            print("loaded:", *sorted({HEAVY!r} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True)
    said = [line for line in done.stdout.splitlines() if line.startswith("loaded:")]
    assert said == ["loaded:"] * len(commands)


def test_a_title_read_from_the_source_is_the_docstring_s():
    for name, place in methods.PLACES.items():
        assert importing.first_line(place) == (methods.METHODS[name].__doc__ or "").partition("\n")[0].removesuffix(".")
    assert all(importing.first_line(place.partition(":")[0]) for place in (data.PLACES | data.OWN_PLACES).values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_loaded_is_one_sentence(monkeypatch, capfd, number):
    class Interrupts:
        def find_spec(self, name, *_):
            if name == "interlude.simulator.cli.main":
                signal.raise_signal(number)

    def leave(code):
        raise SystemExit(code)

    monkeypatch.delitem(sys.modules, "interlude.simulator.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    monkeypatch.setattr(os, "_exit", leave)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit) as ended:
            entry.main()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert ended.value.code == 128 + number
    assert capfd.readouterr().err == "interlude: interrupted\n"
