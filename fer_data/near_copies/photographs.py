"""From pairs of images to photographs: groups of images that all show the same one."""

import numpy as np

Pairs = tuple[np.ndarray, np.ndarray]
"""Rows, int64 [n] each."""
_MOST, _MORE = 20, 6
"""Partners of an image that are gone through, and how many more pairs it gets: the frames of a video are all alike."""


def photographs(count: int, links: Pairs, strength: np.ndarray, contradictions: Pairs) -> np.ndarray:
    """The photograph of each of `count` images, int64 [count]: the lowest row of its group.

    `links` join groups, the strongest first, except two of which some images contradict each other.
    """
    group = np.arange(count)
    members: dict[int, list[int]] = {}
    foes: dict[int, list[int]] = {}
    for one, other in _both_ways(contradictions):
        foes.setdefault(one, []).append(other)
    for at in np.lexsort((links[1], links[0], -strength)):
        first, second = sorted((int(group[links[0][at]]), int(group[links[1][at]])))
        if first == second:
            continue
        staying, joining = members.get(first, [first]), members.get(second, [second])
        fewer, target = (joining, first) if len(joining) <= len(staying) else (staying, second)
        if any(group[foe] == target for row in fewer for foe in foes.get(row, ())):
            continue
        members[first] = staying + joining
        group[joining] = first
    return group


def partners_of_partners(links: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images that are not linked, but each linked to the same third: the rows `one` and `other`.

    Also the numbers of two links, int64 each: of `one` with the third, and of the third with `other`. The number of a
    link is its place in `links`, or that plus their count if it is reversed.
    """
    count = len(links[0])
    partners: dict[int, list[tuple[int, int]]] = {}
    for at, (one, other) in enumerate(zip(*(side.tolist() for side in links), strict=True)):
        partners.setdefault(one, []).append((other, at))
        partners.setdefault(other, []).append((one, at + count))
    known = set(_both_ways(links))
    found = []
    for one in sorted(partners):
        left = _MORE
        for third, first in partners[one][:_MOST]:
            for other, second in partners[third][:_MOST]:
                if one < other and left and (one, other) not in known:
                    known.add((one, other))
                    found.append((one, other, first, second))
                    left -= 1
    columns = np.array(found, np.int64).reshape(-1, 4)
    return columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3]


def _both_ways(pairs: Pairs) -> list[tuple[int, int]]:
    one, other = (side.tolist() for side in pairs)
    return [*zip(one, other, strict=True), *zip(other, one, strict=True)]
