"""Which images of a data set show the same photograph."""

import numpy as np

from fer_data.near_copies.candidates import candidates
from fer_data.near_copies.descriptors import calmed, halved, unframed
from fer_data.near_copies.maps import chained, reversed_maps
from fer_data.near_copies.photographs import Pairs, partners_of_partners, photographs
from fer_data.near_copies.registration import ALIKE, Fit, Registration, view_maps
from fer_data.near_copies.table import NO_COPIES, Copies, Progress, unheard
from fer_data.parallel import Run, run_on_threads

_CONTRADICTS, _WIDE = 0.5, 0.5
"""Two images that overlap by this share, with less `detail` in common, do not show the same photograph."""


def find_copies(
    pixels: np.ndarray, hashes: np.ndarray, progress: Progress | None = None, run: Run = run_on_threads
) -> Copies:
    """Exact and near copies among `pixels`, uint8 [n, 48, 48, 1], whose hashes are `hashes`, uint64 [n].

    The order of the images makes no difference to what is found. `progress` hears which share is done, and
    `run` does the work; the result is the same whichever it is.
    """
    if not len(pixels):
        return NO_COPIES
    done = progress or unheard
    # Equal images are compared with the others once. They are sorted by hash, whatever their order in the data set.
    _, first, image, times = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    count = len(first)
    links, fit, contradictions = _links(pixels[first], run, done)
    group = photographs(count, links, fit.detail, contradictions)
    best, correlation, mirrored = _best(count, links, group, fit)

    # Of equal images, each is the best partner of the one before.
    order = np.lexsort((np.arange(len(hashes)), image))
    starts = np.searchsorted(image[order], np.arange(count))
    place = np.arange(len(order)) - starts[image[order]]
    following = order[starts[image[order]] + (place + 1) % times[image[order]]]
    repeated = times[image[order]] > 1
    near = ~repeated & (best[image[order]] >= 0)
    partner = np.where(repeated, following, first[best[image[order]]])
    correlation = np.where(repeated, 1, correlation[image[order]]).astype(np.float32)
    mirrored = ~repeated & mirrored[image[order]]
    kept = repeated | near
    rows = order[kept]
    number = np.unique(group[image[rows]], return_inverse=True)[1].astype(np.int64)
    by_row = np.argsort(rows)
    columns = (rows, number, partner[kept], correlation[kept], mirrored[kept])
    return Copies(*(column[by_row] for column in columns))


def _links(images: np.ndarray, run: Run, done: Progress) -> tuple[Pairs, Fit, Pairs]:
    """Pairs of `images` that fit, each once, how they fit, and pairs that were found not to show one photograph."""
    images = unframed(images)
    halves = halved(calmed(images))
    registration = Registration(images, halves)
    one, other, view = candidates(halves, run, lambda share: done(0.5 * share))
    fit = registration.fit(one, other, view_maps(view), run, lambda share: done(0.5 + 0.45 * share))
    linked = fit.detail >= ALIKE
    one, other, fit = one[linked], other[linked], Fit(*(column[linked] for column in fit))
    # Images with a partner in common are laid on one another by way of it. They are linked if they fit. If not, that is
    # a contradiction; that a pair does not fit which has only the map of a view to begin with is none.
    left, right, first, second = partners_of_partners((one, other))
    maps = np.concatenate([fit.map, reversed_maps(fit.map)])
    more = registration.fit(left, right, chained(maps[first], maps[second]), run, give_up=False)
    done(1.0)
    apart = (more.detail < _CONTRADICTS) & (more.overlap >= _WIDE) & (more.correlation != 0)
    linked = more.detail >= ALIKE
    links = np.concatenate([one, left[linked]]), np.concatenate([other, right[linked]])
    fits = Fit(*(np.concatenate([column, added[linked]]) for column, added in zip(fit, more, strict=True)))
    return links, fits, (left[apart], right[apart])


def _best(count: int, links: Pairs, group: np.ndarray, fit: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best partner of each image within its group (-1: none), the correlation, and whether one is mirrored."""
    one, other = (np.concatenate(sides) for sides in (links, links[::-1]))
    # The nearest crop of a photograph has both: what they share is alike, and they share much.
    common, correlation, maps = (
        np.concatenate([values] * 2) for values in (fit.detail * fit.overlap, fit.correlation, fit.map)
    )
    inside = group[one] == group[other]
    one, other, common, correlation, maps = (each[inside] for each in (one, other, common, correlation, maps))
    order = np.lexsort((other, -common, one))
    rows, first = np.unique(one[order], return_index=True)
    chosen = order[first]
    best, strength, mirrored = np.full(count, -1), np.zeros(count, np.float32), np.zeros(count, bool)
    best[rows], strength[rows] = other[chosen], correlation[chosen]
    mirrored[rows] = np.linalg.det(maps[chosen][:, :, :2]) < 0
    return best, strength, mirrored
