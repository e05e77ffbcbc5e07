"""64-bit hashes of column data, whole columns at a time.

The hashes only steer the index; they are never written to disk and never decide that two keys are equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MUL_1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL_2 = np.uint64(0x94D049BB133111EB)
_NULL = np.uint64(0x6A09E667F3BCC909)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)
_PIECE = 128  # bytes; longer rows are hashed piece by piece, then the pieces' hashes are hashed
_BYTE_BITS = np.uint64(8)


def mix(words: U64) -> U64:
    """The splitmix64 finaliser: a bijection of 64-bit words in which every input bit moves every output bit."""
    mixed = words ^ (words >> _S30)
    mixed *= _MUL_1
    mixed ^= mixed >> _S27
    mixed *= _MUL_2
    mixed ^= mixed >> _S31
    return mixed


def combine(left: U64, right: U64) -> U64:
    """One hash from two, row by row; the order of the two matters."""
    summed = left * _MUL_1
    summed += right
    summed += _GOLDEN
    return mix(summed)


def start(rows: int) -> U64:
    """The hash of a row before any column: what a key without columns hashes to."""
    return np.full(rows, _GOLDEN, dtype=np.uint64)


def mask_nulls(hashes: U64, valid: NDArray[np.bool_] | None) -> U64:
    """Gives null rows one hash of their own. `valid` is true where the row has a value; None means everywhere."""
    return hashes if valid is None else np.where(valid, hashes, _NULL)


def hash_words(words: U64) -> U64:
    """Hash of one 64-bit word a row."""
    return mix(words + _GOLDEN)


def hash_bytes(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> U64:
    """Hash of a ragged column of bytes: row i is ``data[offsets[i]:offsets[i + 1]]``. ``offsets`` has n + 1 entries.

    Rows are read eight bytes a round, all rows of a round together. Rows above 128 bytes are cut into pieces whose
    hashes form a shorter row, so that one long row costs its length and not a round per eight bytes.
    """
    begins = offsets[:-1]
    lengths = np.diff(offsets)
    if len(lengths) == 0:
        return np.empty(0, dtype=np.uint64)
    long_rows = np.flatnonzero(lengths > _PIECE) if int(lengths.max()) > _PIECE else None
    if long_rows is None:
        return _hash_short(begins, lengths, data)
    if len(long_rows) == len(lengths):
        return _hash_long(begins, lengths, data)
    hashes = np.empty(len(lengths), dtype=np.uint64)
    short_rows = np.flatnonzero(lengths <= _PIECE)
    hashes[short_rows] = _hash_short(begins[short_rows], lengths[short_rows], data)
    hashes[long_rows] = _hash_long(begins[long_rows], lengths[long_rows], data)
    return hashes


def _hash_long(begins: NDArray[np.int64], lengths: NDArray[np.int64], data: NDArray[np.uint8]) -> U64:
    pieces = -(-lengths // _PIECE)
    ends = np.cumsum(pieces)
    within_row = np.arange(int(ends[-1]), dtype=np.int64) - np.repeat(ends - pieces, pieces)
    piece_begins = np.repeat(begins, pieces) + within_row * _PIECE
    piece_lengths = np.minimum(np.repeat(lengths, pieces) - within_row * _PIECE, _PIECE)
    piece_hashes = _hash_short(piece_begins, piece_lengths, data)
    row_offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(pieces * 8, out=row_offsets[1:])
    return combine(hash_bytes(row_offsets, piece_hashes.view(np.uint8)), lengths.astype(np.uint64))


def _hash_short(begins: NDArray[np.int64], lengths: NDArray[np.int64], data: NDArray[np.uint8]) -> U64:
    hashes = hash_words(lengths.astype(np.uint64))
    if len(data) < 8:
        data = np.concatenate([data, np.zeros(8 - len(data), dtype=np.uint8)])
    # Every byte position seen as the start of a word, without copying the bytes.
    words_at = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    last = len(data) - 8
    rows: NDArray[np.int64] | None = None  # None: all of them
    left = lengths
    longest = int(lengths.max())
    position = begins
    for done in range(0, longest, 8):
        if rows is not None or int(left.min()) <= 0:
            keep = np.flatnonzero(left > 0)
            rows = keep if rows is None else rows[keep]
            left, position = left[keep], position[keep]
        readable = np.minimum(position, last)
        # A word that would reach past the buffer is read earlier and shifted into place.
        words = words_at[readable] >> ((position - readable).astype(np.uint64) * _BYTE_BITS)
        if int(left.min()) < 8:
            unused = (8 - np.minimum(left, 8)).astype(np.uint64) * _BYTE_BITS
            words = (words << unused) >> unused
        if rows is None:
            hashes = combine(hashes, words)
        else:
            hashes[rows] = combine(hashes[rows], words)
        if done + 8 < longest:
            left = left - 8
            position = position + 8
    return hashes
