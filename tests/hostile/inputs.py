"""Files and addresses that mean harm, made by code: (reader of `reading`, name of the file, content)."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import REPOSITORY

Input = tuple[str, str, bytes]
RELEASED = REPOSITORY / "fer_models" / "released"
KINDS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "bmp": "BMP", "webp": "WEBP", "gif": "GIF"}


def picture(kind: str, side: int = 48) -> bytes:
    """An image file of noise."""
    file = io.BytesIO()
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(file, KINDS[kind])
    return file.getvalue()


def sized(kind: str, side: int) -> bytes:
    """A small image whose header says that it has `side` by `side` pixels."""
    data = bytearray(picture(kind))
    if kind == "jpg":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    elif kind == "png":
        struct.pack_into(">II", data, 16, side, side)
    elif kind == "bmp":
        struct.pack_into("<ii", data, 18, side, side)
    elif kind == "gif":
        struct.pack_into("<HH", data, 6, side, side)
    elif kind == "webp":
        struct.pack_into("<HH", data, 26, side & 0x3FFF, side & 0x3FFF)
    else:
        (start,) = struct.unpack_from("<I", data, 4)
        for at in range(start + 2, len(data) - 12, 12):
            if struct.unpack_from("<H", data, at)[0] in (256, 257):
                struct.pack_into("<HII", data, at + 2, 4, 1, side)
    return bytes(data)


def images() -> Iterator[Input]:
    for kind in KINDS:
        whole = picture(kind)
        for side in (0, 1, 8_000, 32_000, 65_535):
            yield "image", f"{side}.{kind}", sized(kind, side)
        for share in (0.02, 0.1, 0.5, 0.95):
            yield "image", f"cut{share}.{kind}", whole[: int(share * len(whole))]
        for seed in range(8):
            yield "image", f"torn{seed}.{kind}", torn_in(whole, 12, len(whole), seed)
    start = picture("jpg").index(b"\xff\xc0")
    frame = picture("jpg")[start : start + 19]
    for name, before in {
        "rst": b"\xff\xd0" + b"\xff\xfe" + struct.pack(">H", 4 + len(frame)) + b"\0\0" + frame,
        "rst without comment": b"\xff\xd0\0\x02" + frame,
        "tem": b"\xff\x01\xff\xfe\0\x15" + frame,
        "short": b"\xff\xfe\0\0" + frame,
        "stuffed": b"\xff\0" + frame,
        "twice": b"\xff\xd8" + frame,
    }.items():
        big = sized("jpg", 32_000)
        yield "image", f"{name}.jpg", big[:2] + before + big[2:]
    for name, data in {"empty": b"", "heic": b"\0\0\0\x18ftypheic", "text": b"a,b\n", "zeros": bytes(9999)}.items():
        yield "image", f"{name}.jpg", data
    rows = bytearray(picture("tif"))
    (start,) = struct.unpack_from("<I", rows, 4)
    for at in range(start + 2, len(rows) - 12, 12):
        if struct.unpack_from("<H", rows, at)[0] == 278:
            struct.pack_into("<HII", rows, at + 2, 4, 1, 5_000_000)
    yield "image", "rows per strip.tif", bytes(rows)


def zipped(members: dict[str, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _tar(*members: tuple[str, bytes, bytes], link: str = "") -> bytes:
    """Members as (name, type, content)."""
    blocks = []
    for name, kind, content in members:
        header = tarfile.TarInfo(name)
        header.type, header.size, header.linkname = kind, len(content), link
        blocks += [header.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % 512)]
    return b"".join(blocks) + bytes(1024)


def archives() -> Iterator[Input]:
    face = picture("png")
    good = {f"train/{label}/{i}.png": face for i, label in enumerate(("sad", "happy"))}
    for name in (
        "../../escaped.png",
        "/escaped.png",
        "C:/escaped.png",
        "train\\..\\..\\escaped.png",
        "train/sad/\x1b[31m",
    ):
        yield "prepare", f"path{len(name)}.zip", zipped({**good, name: face})
        yield "prepare", f"path{len(name)}.tar", _tar((name, b"0", face))
    for size in (10**6, 3 * 10**8):
        yield "prepare", f"bomb{size}.zip", zipped({**good, "train/sad/b.png": bytes(size)})
    yield "prepare", "bomb.tar.gz", gzip.compress(_tar(("train/sad/b.png", b"0", bytes(3 * 10**8))), 1)
    yield "prepare", "bomb.csv.gz", gzip.compress(b"emotion,pixels,Usage\n" + b"0" * 10**8, 1)
    whole = zipped(good)
    for share in (0.1, 0.5, 0.9):
        yield "prepare", f"cut{share}.zip", whole[: int(share * len(whole))]
        yield "prepare", f"cut{share}.tar.gz", gzip.compress(_tar(("train/sad/a.png", b"0", face)))[: int(share * 999)]
    for digits in (200, 8_192, 255_000):
        header = (("x", tarfile.XHDTYPE, b"9" * digits), ("train/sad/a.png", b"0", face))
        yield "prepare", f"pax{digits}.tar", _tar(*header)
        yield "prepare", f"pax{digits}.tar.gz", gzip.compress(_tar(*header * 50))
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
        yield "prepare", f"long{kind.decode()}.tar", _tar(("x", kind, b"a" * 10**6), ("train/sad/a.png", b"0", face))
    sparse = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    yield "prepare", "sparse.tar.gz", gzip.compress(_tar(("x", b"x", sparse), ("a.png", b"0", b"1" * 10**7)))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE):
        yield "prepare", f"kind{kind.decode()}.tar", _tar(("train/sad/a.png", kind, b""), link="/etc/passwd")
    yield "prepare", "many.tar.gz", gzip.compress(b"".join(_tar((f"{i}.txt", b"0", b""))[:512] for i in range(30_000)))
    yield "prepare", "nested.zip", zipped({"a.zip": zipped({"b.zip": whole})})
    for kind in KINDS:
        yield "prepare", f"images.{kind}.zip", zipped({**good, f"train/sad/big.{kind}": sized(kind, 32_000)})


def tables() -> Iterator[Input]:
    row = b"3," + b" ".join([b"7"] * 2304) + b",Training\n"
    head = b"emotion,pixels,Usage\n"
    for name, text in {
        "long": head + b"3," + b"9 " * 10**6 + b",Training\n" + row,
        "one line": b"emotion" + b"," * 10**6,
        "no newline": head + b"1" * 10**7,
        "nul": head + row.replace(b"7", b"\0", 3) + row,
        "quotes": head + b'"' * 10**5 + row,
        "numbers": head + row.replace(b"7 7", b"1e9 -4", 1) + row,
        "classes": head + row.replace(b"3,", b"99999999999999999999,", 1) + row,
        "usage": head + row.replace(b"Training", b"\x1b[2J=1+1"),
        "wide": head + (b"x," * 5000 + b"\n") * 50,
        "utf": head + b"\xff\xfe" + row,
        "empty": b"",
        "head": head,
        "bom": b"\xef\xbb\xbf" + head + row,
        "formula": b"=cmd|' /C calc'!A0,pixels,Usage\n" + row,
    }.items():
        yield "prepare", f"{name}.csv", text


def torn_in(data: bytes, start: int, end: int, seed: int) -> bytes:
    """`data` with four wrong bytes between `start` and `end`."""
    dice, torn = np.random.default_rng(seed), np.frombuffer(data, np.uint8).copy()
    torn[dice.integers(start, end, 4)] = dice.integers(0, 256, 4)
    return torn.tobytes()


def texts() -> Iterator[Input]:
    card = json.loads((RELEASED / "card.json").read_text())
    name = next(iter(card["sha256"]))
    changes = {
        "epoch": 10**18,
        "epoch 2": -1,
        "parameters": 10**30,
        "format_version": 10**9,
        "classes": ["a"] * 7,
        "sha256": {"../../etc/passwd": card["sha256"][name]},
        "sha256 2": {"/etc/passwd": "0"},
        "sha256 3": {"a\x1b[2J\nerror: b": "0"},
        "metrics": [{"loss": float("nan")}],
        "metrics 2": [{"loss": float("inf")}],
        "metrics 3": {},
        "model": ["cnn"],
        "\x1b[2J\nerror: forged": 1,
        "[link=http://evil]x[/link]": 1,
    }
    for number, (key, value) in enumerate(changes.items()):
        changed = card | {key.split(" ")[0] if key[0].isalpha() else key: value}
        yield "card", f"{number}.card.json", json.dumps(changed).encode()
    odd = (b"", b"[]", b"{", b"[" * 10**5, b"\xff\xfe", b'{"epoch": 1e999}', b"null", b"9" * 10**5)
    for number, text in enumerate(odd):
        yield "card", f"{number}.json", text
        yield "config", f"{number}.config.json", text
    stage = '[[stage]]\nname = "a"\nmodel = "cnn"\n'
    for number, text_ in enumerate((
        "", "[[stage]]", stage * 2, "a = " + "[" * 5000, stage + "epochs = 1" + "0" * 5000, stage + "epochs = nan",
        stage.replace('"a"', '"../../x"'), stage.replace('"a"', '"\\u001b[2J\\nerror: forged"'),
        stage + 'teachers = ["a"]', stage + 'data = "/etc"', stage + '"\\u001b[2J" = 1', stage + "seed = -1",
        "stage = 1", "x = 1\n" + stage, stage + "learning_rate = 1e400", "\0", stage + "[stage.optimizer]\nname = 3",
    )):  # fmt: skip
        yield "recipe", f"{number}.toml", text_.encode()
        yield "class_map", f"{number}.map.toml", text_.encode()
