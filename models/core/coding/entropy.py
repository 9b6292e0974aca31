"""Symbols to bytes and back by a range coder, given integer frequencies that sum to 2^24.

The coder is constriction's (Bamler 2022, arXiv:2201.01741). It takes probabilities as floats and
turns them into integers itself: the table f - 1 of integers comes out as exactly f, since it adds 1
to each and leaves the rest as it is. So no float decides about a bit.
"""

from typing import NamedTuple

import constriction
import numpy as np

TOTAL_BITS = 24
TOTAL = 1 << TOTAL_BITS
"""What the frequencies of one symbol sum to."""
LEAST = 2
"""The smallest frequency: what lies beside a symbol can then always be two symbols."""

_FAMILY = constriction.stream.model.Categorical(perfect=False)
_WORD, _STATE = 32, 64


class Position(NamedTuple):
    """Where a decoder stands: the words behind it, and its interval of 64 bits."""

    num_words: int = 0
    lower: int = 0
    range: int = (1 << _STATE) - 1


class Writer:
    """Collects symbols as intervals [left, left + frequency) of 0 .. 2^24."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def write(self, left: np.ndarray, frequency: np.ndarray) -> None:
        """Append symbols. Shapes: both integers (S,); frequencies of LEAST and more."""
        right = TOTAL - left - frequency
        # Below, the symbol, above; where there is nothing on one side, the other is cut in two.
        first, last = left == 0, right == 0
        table = np.stack([left, frequency, right], 1)
        table[first] = np.stack([frequency, right - 1, np.ones_like(right)], 1)[first]
        table[last] = np.stack([np.ones_like(left), left - 1, frequency], 1)[last]
        symbols = np.where(first, 0, np.where(last, 2, 1)).astype(np.int32)
        self._encoder.encode(symbols, _FAMILY, (table - 1).astype(np.float32))

    def finish(self) -> bytes:
        """The shortest bytes that, followed by zeros, lie in the interval of all symbols."""
        num_words, (lower, size) = self._encoder.pos()
        words = self._encoder.get_compressed().astype(">u4").tobytes()
        num_bytes = (num_words * _WORD + _STATE) // 8
        inside = int.from_bytes(words.ljust(num_bytes, b"\0"), "big")
        low = inside - (inside - lower) % (1 << _STATE)
        # Zeros at the end of the words before may be left out too, if there are any.
        for kept in range(max(num_bytes - 2 * _STATE // 8, 0), num_bytes + 1):
            shift = 8 * (num_bytes - kept)
            value = -(-low >> shift)
            if value << shift < low + size:
                return value.to_bytes(kept, "big")
        raise AssertionError("the interval is never empty")


def words_of(code: np.ndarray) -> np.ndarray:
    """Codes as a decoder reads them, with zeros behind: it reads ahead, and zeros may be left out.

    Shapes: uint8 (B, W), zeros at the end -> uint32 (B, W / 4 + 6).
    """
    padded = np.zeros((len(code), 4 * (code.shape[1] // 4 + 6)), np.uint8)
    padded[:, : code.shape[1]] = code
    return padded.view(">u4").astype(np.uint32)


class Reader:
    """Gives symbols back from any position of one code; nonsense becomes symbols too."""

    def __init__(self, words: np.ndarray, position: Position = Position()) -> None:  # noqa: B008
        """Shapes: words uint32 (N,), from `words_of`."""
        self._words = words
        self.position = position

    def read(self, cumulative: np.ndarray) -> np.ndarray:
        """The next symbols. Shapes: integers (S, K + 1) from 0 to TOTAL -> int64 (S,).

        Symbol k has the interval from cumulative[k] to cumulative[k + 1].
        """
        frequency = np.diff(cumulative, axis=1)
        num_words, lower, size = self.position
        if num_words + 2 > len(self._words):
            return np.zeros(len(cumulative), np.int64)
        decoder = constriction.stream.queue.RangeDecoder(self._words)
        decoder.seek(num_words, (lower, size))
        try:
            symbols = decoder.decode(_FAMILY, (frequency - 1).astype(np.float32)).astype(np.int64)
        except AssertionError:  # how the decoder says that nobody has written this
            self.position = Position(len(self._words))
            return np.zeros(len(cumulative), np.int64)
        each = np.arange(len(symbols))
        self._follow(cumulative[each, symbols].tolist(), frequency[each, symbols].tolist())
        return symbols

    def _follow(self, lefts: list[int], frequencies: list[int]) -> None:
        """The position behind these symbols; constriction's own decoder does not tell it."""
        num_words, lower, size = self.position
        for left, frequency in zip(lefts, frequencies, strict=True):
            scale = size >> TOTAL_BITS
            lower = (lower + scale * left) % (1 << _STATE)
            size = scale * frequency
            if size < 1 << (_STATE - _WORD):
                lower = (lower << _WORD) % (1 << _STATE)
                size <<= _WORD
                num_words += 1
        self.position = Position(num_words, lower, size)
