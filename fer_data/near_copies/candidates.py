"""Find pairs of images whose descriptors are alike, by an approximate index of nearest neighbours."""

from typing import NamedTuple

import faiss
import numpy as np

from fer_data.near_copies.descriptors import DIMENSIONS, FLAT, MIDDLE, VIEWS, described, viewed
from fer_data.near_copies.table import Progress, told, unheard
from fer_data.parallel import Run, run_on_threads

SIMILAR = 0.80
"""Cosine of two descriptors from which a pair is a candidate; 99 in 100 pairs of FER-2013 are above it."""
PARTNERS = 5
"""Candidates that are kept for each image."""
_NEIGHBOURS = 4
EXACT = 4_000
"""Up to so many images every pair is compared: an index would not be faster."""
_CELLS_SEARCHED = 8
QUERIES = 512
"""Images that a worker looks up at a time."""


class Candidates(NamedTuple):
    """Pairs of rows, int64 [n] each: a `view` (its number) of the image `one` looks like the middle of `other`."""

    one: np.ndarray
    other: np.ndarray
    view: np.ndarray


def candidates(halves: np.ndarray, run: Run = run_on_threads, done: Progress = unheard) -> Candidates:
    """Pairs among `halves`, float32 [n, 24, 24], each once. Flat images are in none."""
    rows = np.flatnonzero(halves.std(axis=(1, 2)) >= FLAT)
    if len(rows) < 2:
        nothing = np.zeros(0, np.int64)
        return Candidates(nothing, nothing, nothing)
    index = _index(described(halves[rows], MIDDLE))
    starts = range(0, len(rows), QUERIES)
    found = told(run(_search, (index, halves[rows]), starts), len(starts), done)
    one, other, view, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
    # A pair may be found from both sides: the more similar view is kept.
    low, high = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((view, one, -similarity, high, low))
    kept = order[_is_first(low[order], high[order])]
    return Candidates(rows[one[kept]], rows[other[kept]], view[kept])


def _is_first(*columns: np.ndarray) -> np.ndarray:
    """Where sorted `columns` differ from the row before."""
    return np.r_[True, np.any([column[1:] != column[:-1] for column in columns], axis=0)][: len(columns[0])]


def _index(descriptors: np.ndarray) -> faiss.Index:
    flat = faiss.IndexFlatIP(DIMENSIONS)
    if len(descriptors) <= EXACT:
        flat.add(descriptors)
        return flat
    cells = int(3 * np.sqrt(len(descriptors)))
    index = faiss.IndexIVFFlat(flat, DIMENSIONS, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = 64
    index.train(descriptors)
    index.add(descriptors)
    index.nprobe = _CELLS_SEARCHED
    return index


def _search(shared: tuple[faiss.Index, np.ndarray], start: int) -> tuple[np.ndarray, ...]:
    """The candidates of the images from `start`: their rows, their partners, the views and the similarities."""
    index, halves = shared
    # Each worker searches alone: the threads of faiss would wait for each other at every query.
    faiss.omp_set_num_threads(1)
    queries = halves[start : start + QUERIES]
    similarity, neighbour = index.search(viewed(queries).reshape(-1, DIMENSIONS), _NEIGHBOURS)
    one = np.repeat(np.arange(start, start + len(queries)), len(VIEWS) * _NEIGHBOURS)
    view = np.tile(np.repeat(np.arange(len(VIEWS)), _NEIGHBOURS), len(queries))
    other, similarity = neighbour.ravel(), similarity.ravel()
    near = (other >= 0) & (other != one) & (similarity >= SIMILAR)
    one, other, view, similarity = (column[near] for column in (one, other, view, similarity))
    # The best view of each pair, then the best partners of each image.
    order = np.lexsort((view, -similarity, other, one))
    first = order[_is_first(one[order], other[order])]
    order = first[np.lexsort((other[first], -similarity[first], one[first]))]
    rank = np.arange(len(order)) - np.searchsorted(one[order], one[order])
    kept = order[rank < PARTNERS]
    return one[kept], other[kept], view[kept], similarity[kept]
