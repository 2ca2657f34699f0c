"""64-bit hashes of many texts or numbers at a time, which stay what they are: splits hang on them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def of_texts(texts: pa.Array) -> np.ndarray:
    """uint64, shape (n,): of each text. None may be missing."""
    hashes = np.zeros(len(texts), np.uint64)
    stir(hashes, texts)
    return hashes


def stir(hashes: np.ndarray, texts: pa.Array) -> None:
    """Stirs each text into its row's hash: all of one length at a time, by 8 bytes. None may be missing."""
    _, offsets, content = texts.buffers()
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    starts = np.frombuffer(offsets, width)[texts.offset : texts.offset + len(texts) + 1]
    lengths, letters = np.diff(starts), np.frombuffer(content, np.uint8)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        padded = np.zeros((len(rows), 8 * -(-length // 8)), np.uint8)
        padded[:, :length] = letters[starts[rows][:, None] + np.arange(length)]
        mixed = scrambled(hashes[rows] + np.uint64(length))
        for word in padded.view(np.uint64).T:
            mixed = scrambled(mixed ^ word)
        hashes[rows] = mixed


def of_numbers(numbers: np.ndarray) -> np.ndarray:
    """uint64, shape (n,): of each float64's bits; 0.0 = -0.0, all NaN alike."""
    values = numbers + 0.0
    values[np.isnan(values)] = np.nan
    return scrambled(values.view(np.uint64))


def scrambled(values: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that spreads every bit. Source: SplitMix64 (Steele, Lea, Flood 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
