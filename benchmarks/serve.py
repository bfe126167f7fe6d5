"""Good and bad requests to `unmask serve` from several clients at once: statuses, times, memory.

    python benchmarks/serve.py [--requests 1000] [--clients 8]

The server is started here, on a free port, and ended. Small photos, so that it is the server that
is tried and not the networks. The exit status is 1 if a request has got another status than it
should, or the server does not live any more.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from cyclopts import run
from PIL import Image

RAW = "application/octet-stream"
# Status, query, type and body of a request.
Request = tuple[int, str, str, bytes]


def main(*, requests: int = 1000, clients: int = 8, seed: int = 0) -> int:
    """Send the requests, and print what came back.

    Args:
        requests: How many.
        clients: How many at once.
        seed: Seed of their order.
    """
    kinds = _kinds()
    order = list(islice(cycle(kinds), requests))
    np.random.default_rng(seed).shuffle(order)  # type: ignore[arg-type]
    with _server(clients) as (port, process), ThreadPoolExecutor(clients) as pool:
        # The first photos build what stays.
        warm = [name for name in kinds if kinds[name][0] == 200] * 5
        list(pool.map(lambda name: _send(port, kinds[name]), warm))
        before = _memory(process.pid)
        start = time.monotonic()
        statuses = list(pool.map(lambda name: _send(port, kinds[name]), order))
        seconds = time.monotonic() - start
        after = _memory(process.pid)
        alive = process.poll() is None
    wrong = 0
    for name, (expected, *_) in kinds.items():
        got = Counter(s for s, n in zip(statuses, order, strict=True) if n == name)
        wrong += sum(got.values()) - got[expected]
        print(f"{name:24} expected {expected}, got {dict(got)}")
    print(f"{requests} requests from {clients} clients in {seconds:.0f} s, {wrong} wrong")
    print(f"memory of the server: {before:.0f} MB before, {after:.0f} MB after")
    return int(wrong > 0 or not alive)


def _kinds() -> dict[str, Request]:
    from unmask import Unmasker
    from unmask.demo import portraits, wear_mask

    masked = wear_mask(Unmasker(), portraits()[0])[:320, 60:380]
    photo = _png(masked)
    noise = _png(np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))
    return {
        "masked face": (200, "", RAW, photo),
        "masked face, JSON": (200, "?format=json&seed=1", "image/png", photo),
        "no face": (200, "", RAW, noise),
        "cut off": (400, "", RAW, photo[: len(photo) // 2]),
        "too small": (400, "", RAW, _png(np.zeros((9, 9, 3), np.uint8))),
        "empty": (400, "", RAW, b""),
        "too many bytes": (413, "", RAW, bytes(2_500_000)),
        "too many pixels": (413, "", RAW, _png(np.zeros((1200, 1200, 3), np.uint8))),
        "no picture": (415, "", RAW, b"this is no picture"),
        "wrong type": (415, "", "text/plain", photo),
        "wrong gender": (422, "?gender=other", RAW, photo),
        "wrong seed": (422, "?seed=x", RAW, photo),
    }


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def _server(clients: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "port": port, "waiting": clients, "per-client": clients, "seconds": 600,
        "max-bytes": 2_000_000, "max-pixels": 1_000_000,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen([sys.executable, "-m", "unmask", "serve", "--api-only", *words])
    try:
        while not _lives(port):
            if process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.5)
        yield port, process
    finally:
        process.terminate()
        process.wait()


def _lives(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _send(port: int, request: Request) -> int | str:
    _, query, kind, body = request
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
    try:
        connection.request("POST", f"/api/unmask{query}", body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def _memory(pid: int) -> float:
    """Resident MB; 0 where there is no /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    run(main)
