"""Packages that only some data sets need."""

from importlib import import_module
from types import ModuleType

from interlude.simulator.errors import BadInputError

_PACKAGES = {"av": "PyAV", "soundfile": "soundfile", "PIL": "Pillow"}


def media(module: str) -> ModuleType:
    """Return a package of the extra ``media``.

    Raises:
        BadInputError: if it is not installed; names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise BadInputError(
            f"sounds and videos are read with {_PACKAGES[module]}; install it with: pip install 'interlude[media]'"
        ) from error
