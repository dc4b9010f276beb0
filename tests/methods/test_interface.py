"""The interface of methods: the method in its documentation runs as it stands."""

import os
import subprocess
import sys
from pathlib import Path

from interlude.simulator.methods import interface


def test_the_documented_method_prints_what_is_documented(toy):
    path, printed = toy
    root = str(Path(__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, path.name],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == printed


def test_every_name_of_the_interface_is_there():
    assert all(hasattr(interface, name) for name in interface.__all__)
