"""Seven expressions as 48×48 grey faces drawn by code.

Row i of a seed depends on (seed, i) alone, so that any number of processes can draw any range in any order. An
expression is a mixture of facial actions (after the Facial Action Coding System), each with its own strength. Identity,
pose, tones, light and what covers the face do not depend on the class.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_data.emotions import CLASSES
from fer_data.manifest import ROW_GROUP_ROWS
from fer_data.rows import SIDE

VERSION = 2  # of the drawings: another number, another cached data set
# As in FER-2013 happy is the commonest and disgust the rarest class, but much less so (there 25 % and 1.5 %).
CLASS_SHARES = {name: {"happy": 0.20, "disgust": 0.10}.get(name, 0.14) for name in CLASSES}
# Mean strength of each facial action; what is not named is absent. Less than 0 is the contrary action.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "angry": {"brow_lower": 1.0, "squint": 0.4, "lip_press": 1.0, "corner_drop": 0.25},
    "disgust": {"brow_lower": 0.4, "squint": 0.6, "nose_wrinkle": 1.0, "lip_raise": 1.0, "corner_drop": 0.3},
    "fear": {"inner_brow_up": 1.0, "lid_raise": 0.9, "stretch": 1.0, "jaw_drop": 0.45},
    "happy": {"squint": 0.5, "corner_pull": 1.0, "jaw_drop": 0.35},
    "sad": {"inner_brow_up": 1.0, "lid_raise": -0.5, "corner_drop": 1.0},
    "surprise": {"inner_brow_up": 0.9, "outer_brow_up": 1.0, "lid_raise": 0.9, "stretch": -0.7, "jaw_drop": 1.0},
    "neutral": {},
}
ACTIONS = sorted({action for actions in EXPRESSIONS.values() for action in actions})

INTENSITY = (0.7, 1.2)  # of a whole expression
ACTION_SPREAD = 0.3  # of one action within it, each way
IDLE_ACTION = 0.1  # what an action does in any face, each way
HEAD_SCALE = (20.5, 24.0)  # pixels to half a head
HEAD_SHIFT = 2.75  # pixels, each way
HEAD_TILT = 9.0  # degrees, each way
HEAD_TURN = 0.09  # face units that the features move over the head, each way
MIN_CONTRAST = 50.0  # grey levels between brows and skin
CONTRAST = (0.8, 1.1)
EXPOSURE = 30.0  # grey levels, each way
SIDE_LIGHT = 0.25  # brighter on one side and darker on the other by this much
GRAIN = (1.0, 7.0)  # grey levels, standard deviation

Floats = NDArray[np.floating]  # float32
Value = Floats | float  # one for each row, [n, 1], or one for all
Bools = NDArray[np.bool_]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FRACTION_BITS = 4  # of the coordinates given to OpenCV


def draw(indices: NDArray[np.integer], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """The drawings of the rows `indices` (from 0 on): pixels uint8 [n, 48, 48], labels int8 [n] of 0 to 6."""
    pixels, labels = np.empty((len(indices), SIDE, SIDE), np.uint8), np.empty(len(indices), np.int8)
    for start in range(0, len(indices), ROW_GROUP_ROWS):
        rows = slice(start, start + ROW_GROUP_ROWS)
        pixels[rows], labels[rows] = _draw_chunk(np.asarray(indices[rows], np.uint64), seed)
    return pixels, labels


def _draw_chunk(indices: NDArray[np.uint64], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    dice = _Dice(indices, seed)
    shares = np.cumsum([CLASS_SHARES[name] for name in CLASSES])
    labels = np.searchsorted(shares[:-1], dice.uniform(0, 1)[:, 0], side="right").astype(np.int8)
    act = _actions(dice, labels)
    skin, hair = dice.uniform(70, 235), dice.uniform(10, 240)
    canvas = _Canvas(dice)
    _paint_head(canvas, dice, act, skin, hair)
    _paint_nose(canvas, dice, act, skin)
    _paint_mouth(canvas, dice, act, skin)
    _paint_eyes(canvas, dice, act, skin, hair)
    _paint_covers(canvas, dice, skin, hair)
    return _photograph(canvas.pixels, dice, seed), labels


class _Dice:
    """Random numbers for n rows at once: the k-th throw for a row depends on (seed, index, k) alone."""

    def __init__(self, indices: NDArray[np.uint64], seed: int) -> None:
        self._state = _mix(_mix(np.full((len(indices), 1), seed, np.uint64)) + indices[:, None] * _GOLDEN)

    def uniform(self, low: float, high: float) -> Floats:
        """float32 [n, 1]."""
        self._state = self._state + _GOLDEN
        return low + (_mix(self._state) >> np.uint64(40)).astype(np.float32) / 2**24 * (high - low)

    def happens(self, probability: float) -> Bools:
        """bool [n, 1]."""
        return self.uniform(0, 1) < probability


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): one to one, and looks random."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _actions(dice: _Dice, labels: NDArray[np.int8]) -> dict[str, Floats]:
    """The strength [n, 1] of each facial action: near 0 where the expression has none, near 1 where marked."""
    intensity = dice.uniform(*INTENSITY)
    strengths: dict[str, Floats] = {}
    for action in ACTIONS:
        mean = np.array([EXPRESSIONS[name].get(action, 0.0) for name in CLASSES], np.float32)[labels, None]
        own = intensity * dice.uniform(1 - ACTION_SPREAD, 1 + ACTION_SPREAD)
        strengths[action] = mean * own + dice.uniform(-IDLE_ACTION, IDLE_ACTION)
    return strengths


class _Canvas:
    """n drawings in the making, painted back to front, each in its own pose.

    In face units the head is about 2 high, x goes right, y down; what has `depth` moves as the head turns.
    """

    def __init__(self, dice: _Dice) -> None:
        self.pixels = np.repeat(dice.uniform(0, 255).astype(np.uint8), SIDE * SIDE, axis=1).reshape(-1, SIDE, SIDE)
        scale, angle = dice.uniform(*HEAD_SCALE), np.radians(dice.uniform(-HEAD_TILT, HEAD_TILT))
        self._cos, self._sin = scale * np.cos(angle), scale * np.sin(angle)
        self._x, self._y = (SIDE / 2 + dice.uniform(-HEAD_SHIFT, HEAD_SHIFT) for _ in range(2))
        self._turn, self._nod = (dice.uniform(-HEAD_TURN, HEAD_TURN) for _ in range(2))

    def paint(
        self, x: Floats, y: Floats, tone: Floats, on: Bools | None = None, depth: float = 1, line: int = 0
    ) -> None:
        """Fills x, y [n or 1, k] with `tone` [n, 1], or draws a path `line` pixels wide, on all or some, [n, 1]."""
        x, y = x + depth * self._turn, y + depth * self._nod
        pixels = (x * self._cos - y * self._sin + self._x, x * self._sin + y * self._cos + self._y)
        points = np.rint(np.stack(pixels, axis=-1) * 2**_FRACTION_BITS).astype(np.int32)
        tones = tone[:, 0].tolist()
        for i in range(len(points)) if on is None else np.flatnonzero(on).tolist():
            if line:
                cv2.polylines(self.pixels[i], [points[i]], False, tones[i], line, cv2.LINE_AA, _FRACTION_BITS)
            else:
                cv2.fillPoly(self.pixels[i], [points[i]], tones[i], cv2.LINE_AA, _FRACTION_BITS)


def _row(*values: Value) -> Floats:
    """Values [n, m], or numbers for all rows, side by side: [n or 1, k]."""
    columns = [np.atleast_2d(np.asarray(value, np.float32)) for value in values]
    rows = max(len(column) for column in columns)
    return np.hstack([np.broadcast_to(column, (rows, column.shape[1])) for column in columns])


def _band(x: Floats, top: Floats, bottom: Floats) -> tuple[Floats, Floats]:
    """The outline, x and y [n, 2k], of what lies between two edges over the same x [n, k]."""
    return _row(x, x[:, ::-1]), _row(top, bottom[:, ::-1])


def _oval(x: Value, y: Value, radius_x: Value, radius_y: Value) -> tuple[Floats, Floats]:
    """The outline of an ellipse, x and y [n or 1, 17], closed."""
    turn = np.linspace(0, 2 * np.pi, 17, dtype=np.float32)
    return np.atleast_2d(x + radius_x * np.cos(turn)), np.atleast_2d(y + radius_y * np.sin(turn))


def _paint_head(canvas: _Canvas, dice: _Dice, act: dict[str, Floats], skin: Floats, hair: Floats) -> None:
    half_width, half_height, length = dice.uniform(0.72, 0.9), dice.uniform(0.92, 1.08), dice.uniform(-0.2, 0.6)
    canvas.paint(_row(-1.4, -0.5, 0.5, 1.4), _row(1.9, 1.05, 1.05, 1.9), dice.uniform(10, 245), depth=0)  # clothes
    canvas.paint(_row(-0.4, 0.4, 0.45, -0.45), _row(0.5, 0.5, 1.4, 1.4), skin * 0.75, depth=0)  # neck
    fall = _oval(0, length - 0.3, half_width + dice.uniform(0.04, 0.22), 1 + length * 0.6)  # long or short hair
    canvas.paint(*fall, hair, dice.happens(0.8), depth=0)
    for side in (-1, 1):
        canvas.paint(*_oval(side * half_width, -0.05, 0.12, 0.2), skin * 0.85, depth=0)  # ears
    x, y = _oval(0, 0, half_width, half_height)
    x, y = x * (1 - dice.uniform(0, 0.25) * y.clip(0)), y + 0.14 * y.clip(0) * act["jaw_drop"].clip(0)
    canvas.paint(x, y, skin, depth=0)
    canvas.paint(x * 0.97, np.minimum(y, dice.uniform(-0.85, -0.5)) - 0.03, hair, dice.happens(0.6), depth=0)
    canvas.paint(x * 0.97, np.maximum(y, dice.uniform(0.2, 0.4)), hair, dice.happens(0.1), depth=0)  # beard


def _paint_nose(canvas: _Canvas, dice: _Dice, act: dict[str, Floats], skin: Floats) -> None:
    wrinkle = act["nose_wrinkle"]
    tip, width = dice.uniform(0.16, 0.26) - 0.05 * wrinkle, dice.uniform(0.11, 0.17) * (1 + 0.25 * wrinkle)
    shade, lit_side = skin * dice.uniform(0.55, 0.8), np.where(dice.happens(0.5), 1, -1)
    canvas.paint(lit_side * _row(0.05, 0.06, 0.1), _row(-0.15, 0, tip), shade, depth=1.2, line=1)
    canvas.paint(width * _row(-1, -0.5, 0.5, 1), tip + _row(0, 0.05, 0.05, 0), shade, depth=1.3, line=1)
    dark = skin * (1 - 0.5 * wrinkle.clip(0, 1))
    for level in (-0.2, -0.11, -0.02):
        canvas.paint(_row(-0.11, 0, 0.11), level + _row(-0.03, 0.02, -0.03), dark, wrinkle > 0.25, depth=1.2, line=1)
    fold = np.maximum(np.maximum(act["corner_pull"], wrinkle), act["lip_raise"])  # from nostril to mouth corner
    for side in (-1, 1):
        x, y = side * (width + _row(0.03, 0.14, 0.24)), tip + _row(0, 0.1, 0.24)
        canvas.paint(x, y, skin * (1 - 0.4 * fold.clip(0, 1)), fold > 0.25, line=1)


def _paint_mouth(canvas: _Canvas, dice: _Dice, act: dict[str, Floats], skin: Floats) -> None:
    pull, drop, press = act["corner_pull"], act["corner_drop"], act["lip_press"]
    jaw, raised, wide = (act[name].clip(0) for name in ("jaw_drop", "lip_raise", "stretch"))
    t = np.linspace(-1, 1, 9, dtype=np.float32)  # from corner to corner
    x = t * dice.uniform(0.24, 0.31) * (1 + 0.35 * pull + 0.4 * act["stretch"] - 0.12 * press - 0.1 * jaw)
    middle = dice.uniform(0.48, 0.56) + 0.08 * jaw + (0.26 * drop - 0.3 * pull) * (t**2 - 0.5)
    dome = 1 - np.abs(t) ** (2 + 3 * wide + 3 * raised)  # a stretched or raised lip is squarer
    up, down = 0.05 * jaw + 0.1 * raised + 0.04 * wide, 0.26 * jaw + 0.03 * wide
    top, bottom, opening = middle - up * dome, middle + down * dome, up + down
    lip = (dice.uniform(0.04, 0.075) * (1 - 0.7 * press)).clip(0.012) * (1 - 0.6 * t**4)
    canvas.paint(*_band(x, top - lip, bottom + lip), skin * dice.uniform(0.45, 0.75))
    canvas.paint(*_band(x, top, bottom), skin * 0.15, opening > 0.04)
    canvas.paint(x, middle, skin * 0.25, opening <= 0.04, line=1)
    teeth = np.minimum(bottom, top + 0.09)
    canvas.paint(*_band(x * 0.85, top, teeth), skin.clip(200), (opening > 0.06) & dice.happens(0.8))


def _paint_eyes(canvas: _Canvas, dice: _Dice, act: dict[str, Floats], skin: Floats, hair: Floats) -> None:
    inner, outer, lower = act["inner_brow_up"], act["outer_brow_up"], act["brow_lower"]
    apart, level, half_width = dice.uniform(0.3, 0.39), dice.uniform(-0.24, -0.14), dice.uniform(0.15, 0.2)
    opening = (dice.uniform(0.075, 0.1) * (1 + 0.9 * act["lid_raise"] - 0.55 * act["squint"])).clip(0.015)
    white, iris, gaze = (skin * 1.15).clip(170, 250), dice.uniform(5, 60), dice.uniform(-0.06, 0.06)
    brow_inner = 0.02 - 0.17 * inner + 0.15 * lower
    brow_middle = -0.04 - 0.07 * inner - 0.1 * outer + 0.05 * lower
    brow_outer = 0.03 + 0.06 * inner - 0.2 * outer - 0.06 * lower
    brow_y = level - dice.uniform(0.17, 0.24) + _row(brow_inner, brow_middle, brow_outer)
    brow_width = dice.uniform(0.035, 0.06) * _row(1, 1, 0.5)
    brow = np.where(np.abs(hair - skin) < MIN_CONTRAST, skin * 0.4, hair)
    for side in (-1, 1):
        x = side * apart
        canvas.paint(*_oval(x, level, half_width, opening), white)
        iris_x, iris_y = _oval(x + gaze, 0, 0.085, 0.095)
        canvas.paint(iris_x, level + iris_y.clip(-opening, opening), iris)
        lid_x, lid_y = x + half_width * _row(-1, -0.5, 0.5, 1), level - opening * _row(0, 0.95, 0.95, 0)
        canvas.paint(lid_x, lid_y, skin * 0.35, line=1)
        brow_x = x + side * _row(-0.17 - 0.05 * lower, 0.02, 0.22)
        canvas.paint(*_band(brow_x, brow_y - brow_width, brow_y + brow_width), brow)
        frown = skin * (1 - 0.45 * lower.clip(0, 1))
        canvas.paint(side * _row(0.06, 0.05, 0.07), level - _row(0.23, 0.13, 0.03), frown, lower > 0.3, line=1)


def _paint_covers(canvas: _Canvas, dice: _Dice, skin: Floats, hair: Floats) -> None:
    """A fringe, a hat, glasses, a hand: each on some faces, of any expression."""
    edge = dice.uniform(-0.75, -0.42) + dice.uniform(-0.25, 0.25) * _row(0, 0, 1, 0, -1)
    fringe_y = np.where([True, True, False, False, False], np.float32(-1), edge)
    canvas.paint(_row(-0.85, 0.85, 0.75, 0, -0.75), fringe_y, hair, dice.happens(0.2), depth=0.3)
    brim = dice.uniform(-0.7, -0.5)
    canvas.paint(_row(-0.9, -0.75, 0.75, 0.9), _row(brim, -1.5, -1.5, brim), dice.uniform(5, 250), dice.happens(0.12))
    radii, rim, wears = (dice.uniform(0.24, 0.3), dice.uniform(0.18, 0.25)), dice.uniform(5, 90), dice.happens(0.2)
    for side in (-1, 1):
        canvas.paint(*_oval(side * 0.35, -0.18, *radii), rim, wears, line=1)
    canvas.paint(_row(-0.1, 0.1), _row(-0.2, -0.2), rim, wears, line=1)  # the bridge
    x = np.where(dice.happens(0.5), 1, -1) * _row(dice.uniform(0.55, 1.0), 1.6)
    y, shown = dice.uniform(0.1, 1.2) + dice.uniform(-0.4, 0.4) * _row(0, 1), dice.happens(0.1)
    for finger in range(3):
        canvas.paint(x, y + 0.2 * finger, skin * (0.9 - 0.08 * finger), shown, depth=0, line=5)


def _photograph(pixels: NDArray[np.uint8], dice: _Dice, seed: int) -> NDArray[np.uint8]:
    """Each drawing under a light from one side, with its own exposure, focus and grain."""
    for i in np.flatnonzero(dice.happens(0.5)).tolist():
        cv2.GaussianBlur(pixels[i], (3, 3), 0.7, dst=pixels[i])
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    across, down = (1 + dice.uniform(-SIDE_LIGHT, SIDE_LIGHT) * ramp for _ in range(2))
    image = (pixels.astype(np.float32) - 128) * dice.uniform(*CONTRAST)[..., None]
    image += 128 + dice.uniform(-EXPOSURE, EXPOSURE)[..., None]
    image *= across[:, None, :] * down[:, :, None]
    sheet = _grain(seed)
    left, top = (dice.uniform(0, len(sheet) - SIDE)[:, 0].astype(int).tolist() for _ in range(2))
    for i, amount in enumerate(dice.uniform(*GRAIN)[:, 0].tolist()):
        image[i] += amount * sheet[top[i] : top[i] + SIDE, left[i] : left[i] + SIDE]
    return image.clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _grain(seed: int) -> Floats:
    """A sheet of film grain, mean 0 and standard deviation 1, of which each face takes a piece."""
    return np.random.default_rng(seed).standard_normal((512, 512), np.float32)
