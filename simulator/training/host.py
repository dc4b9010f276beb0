"""Settings of the host process for training."""

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK_BYTES = 32 << 20  # activations; whole models of large networks are still returned to the system
_KEPT_BYTES = 256 << 20
_OBJECTS_PER_COLLECTION = 50_000


@contextmanager
def few_collections() -> Iterator[None]:
    """Let Python's garbage collector leave alone what is there already, and look seldom at what comes.

    For runs without training: they make millions of small objects, hardly any of them in circles, and to go through the
    thousands that are alive with the clients at work, and those of the libraries, takes up to half of a run's time.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread while training: small products gain nothing from two, and sums must not depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Let glibc keep freed activations for the next step, which avoids page faults; without glibc do nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


@cache
def has_bfloat16() -> bool:
    """Return whether this machine's CPU computes in bfloat16.

    Some virtual machines advertise matrix instructions that crash the process that uses them, so a subprocess tries.
    """
    tried = "import torch; x = torch.ones(64, 64, dtype=torch.bfloat16); torch.nn.functional.linear(x, x)"
    return subprocess.run([sys.executable, "-c", tried], capture_output=True, check=False).returncode == 0


def num_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
