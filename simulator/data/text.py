"""Words as numbers, learned from the training texts alone, so that no weights are downloaded.

Cleaning follows BMSFed's code for CrisisMMD; the tokens are a reconstruction in place of its pre-trained BERT's.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

PADDING = 0
UNKNOWN = 1
_FIRST_WORD = 2

_LEADING_RT = re.compile(r"^\s*RT\b[\s:]*")
_URL = re.compile(r"https?://\S*|\bwww\.\S+", re.IGNORECASE)
_TOKEN = re.compile(r"\w+(?:'\w+)*|\S")
_APOSTROPHE = "\u2019"  # as phones write it


def clean(text: str) -> str:
    """Return a tweet without a leading RT, without URLs, and with ``#word`` as ``word``."""
    return " ".join(_URL.sub(" ", _LEADING_RT.sub("", text)).replace("#", "").split())


def tokens(text: str) -> list[str]:
    """Return the lower-case words of a text, and its symbols such as emoji one by one; punctuation is left out.

    Words are letters, digits and underscores of any script, with apostrophes between them. Letters and their accents
    are first composed (NFC), so that one word is written in one way.
    """
    plain = unicodedata.normalize("NFC", clean(text)).replace(_APOSTROPHE, "'").lower()
    found: list[str] = _TOKEN.findall(plain)
    return [token for token in found if token[0] == "_" or unicodedata.category(token[0])[0] in "LNS"]


@dataclass(frozen=True)
class Vocabulary:
    """Words that have a number: 0 is padding, 1 any other word, then the words by frequency."""

    words: tuple[str, ...]

    @classmethod
    def learn(cls, texts: Iterable[str], num_words: int) -> "Vocabulary":
        """Return the most frequent words of some texts, ties in the order of code points.

        Args:
            texts: the training texts; their order does not matter.
            num_words: most words that get a number.
        """
        counts = Counter(token for text in texts for token in tokens(text))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(tuple(ranked[:num_words]))

    @property
    def num_tokens(self) -> int:
        """Numbers in use, padding and unknown included."""
        return _FIRST_WORD + len(self.words)

    def encode(self, text: str, num_tokens: int) -> npt.NDArray[np.int32]:
        """Return the first tokens of a text as numbers [num_tokens], padded with zeros."""
        numbers = [self._numbers.get(token, UNKNOWN) for token in tokens(text)[:num_tokens]]
        return _padded(numbers, num_tokens)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=_FIRST_WORD)}


def _padded(numbers: Sequence[int], length: int) -> npt.NDArray[np.int32]:
    padded = np.full(length, PADDING, dtype=np.int32)
    padded[: len(numbers)] = numbers
    return padded
