"""Seeded damage: from a good file, the same bad one for the same number, every time."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]

_NUMBERS = (0, 1, 2, 127, 128, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)
_WORDS = (
    "", "\0", "..", "../../etc/passwd", "/dev/zero", "C:\\x", "a" * 5000, "\ud800", "ä\n", "nan",
    "-1", "1e999", "%s{}", "None",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 70, 1e308, -0.5, float("nan"), float("inf"), [], {}, [[]],
    [1e9] * 3, {"": None}, *_WORDS,
)  # fmt: skip


def damage(content: bytes, rng: random.Random) -> bytes:
    """Change bytes, whatever they mean: a few places, or the length."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        size = min(rng.choice((1, 2, 4, 8, 64, 1024)), max(1, len(data) // 4))
        match rng.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + size] = rng.randbytes(size)
            case 2:
                data[at : at + size] = b""
            case 3:
                data[at:at] = rng.randbytes(size)
            case 4:
                data[at:at] = data[at : at + size]
            case 5:
                data[at : at + size] = bytes(size)
            case 6:
                form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
                width = struct.calcsize(form)
                value = rng.choice(_NUMBERS) & ((1 << 8 * width) - 1)
                data[at : at + width] = struct.pack(form, value)
            case _ if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def change_json(content: bytes, rng: random.Random) -> bytes:
    """Replace, remove or repeat what a JSON document holds; now and then damage its bytes."""
    if rng.random() < 0.3:
        return damage(content, rng)
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        document = _changed(document, rng)
    if rng.random() < 0.02:
        return b"[" * 100_000
    return json.dumps(document, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def change_lines(content: bytes, rng: random.Random) -> bytes:
    """Replace the values of a TOML file, remove or repeat its lines; or damage its bytes."""
    if rng.random() < 0.3:
        return damage(content, rng)
    lines = content.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        key, equals, _ = lines[at].partition("=")
        if equals and rng.random() < 0.7:
            value = rng.choice(_VALUES)
            text = json.dumps(value, ensure_ascii=False)
            lines[at] = f"{key}= {text if value is not None else rng.choice(_WORDS)}"
        elif rng.random() < 0.5:
            lines.insert(at, rng.choice(lines))
        elif len(lines) > 1:
            del lines[at]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def change_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file, which stays one of the right length."""
    length = int.from_bytes(content[:8], "little")
    if rng.random() < 0.4:
        return damage(content, rng)
    header = change_json(content[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def change_zip(content: bytes, rng: random.Random) -> bytes:
    """Change the parts of a zip archive, whose sums are right again; or damage its bytes."""
    if rng.random() < 0.4:
        return damage(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(parts))
    name, part = parts[at]
    match rng.randrange(5):
        case 0:
            del parts[at]
        case 1:
            parts[at] = rng.choice(parts)[0], part
        case _:
            change = change_zip if part[:2] == b"PK" else _change_npy
            parts[at] = name, change(part, rng)
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", packing) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two parts of one name are what is wanted
        for name, part in parts:
            archive.writestr(zipfile.ZipInfo(name), part, packing)
    return target.getvalue()


def _change_npy(content: bytes, rng: random.Random) -> bytes:
    """Change the numbers in the header of an array, or any bytes."""
    head, end, rest = content.partition(b"}")
    if not content.startswith(b"\x93NUMPY") or not end or rng.random() < 0.5:
        return damage(content, rng)
    digits = [i for i, byte in enumerate(head) if 48 <= byte < 58 and i > 10]
    changed = bytearray(head)
    for place in rng.sample(digits, min(len(digits), rng.choice((1, 2)))):
        changed[place : place + 1] = rng.choice((b"0", b"9", b"7", b"99999999", b"-1"))
    change = len(changed) - len(head)
    return bytes(changed) + end + (rest[change:] if change > 0 else b" " * -change + rest)


def _changed(document: Any, rng: random.Random) -> Any:
    """Return a copy of a document with one place changed."""
    document = copy.deepcopy(document)
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        node = waiting.pop()
        keys: Sequence[Any] = list(node) if isinstance(node, dict) else range(len(node))
        places += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    if not places:
        return rng.choice(_VALUES)
    node, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del node[key]
        case 1 if isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        case 2 if isinstance(node[key], int | float) and not isinstance(node[key], bool):
            node[key] = node[key] * rng.choice((-1, 0, 1000, 1e6, 0.5))
        case 3:
            node[key] = copy.deepcopy(rng.choice(places)[0])
        case _:
            node[key] = rng.choice(_VALUES)
    return document
