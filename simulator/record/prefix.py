"""The beginning of a file that grows: as much of it as there was at some moment."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Prefix:
    """The length and the digest of the first bytes of a file."""

    num_bytes: int
    sha256: str

    def difference(self, path: Path) -> str | None:
        """Return a clause about how a file differs from its first bytes as they were; None if it begins with them."""
        if not path.is_file():
            return f"{path.name} is missing"
        try:
            with path.open("rb") as handle:
                if (num_bytes := handle.seek(0, os.SEEK_END)) < self.num_bytes:
                    return f"{path.name} has {num_bytes:,} of the {self.num_bytes:,} bytes it had then"
                handle.seek(0)
                is_same = prefix_of(handle, self.num_bytes) == self
        except OSError as error:
            return f"{path.name} cannot be read ({error.strerror or error})"
        return None if is_same else f"{path.name} was changed since"


def prefix_of(handle: BinaryIO, num_bytes: int) -> Prefix:
    """Return the prefix of the next bytes of a file."""
    hashed, left = hashlib.sha256(), num_bytes
    while left and (chunk := handle.read(min(left, _CHUNK_BYTES))):
        hashed.update(chunk)
        left -= len(chunk)
    return Prefix(num_bytes - left, hashed.hexdigest())
