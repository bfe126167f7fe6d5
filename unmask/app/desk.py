"""How much a server takes on: its limits, why it refuses, and the desk where requests wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from unmask.errors import ImageError, ImageFormatError, ImageSizeError, SettingError, UnmaskError

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how many may be there at once.

    Attributes:
        max_bytes: Largest body of a request.
        max_pixels: Largest width times height of a photo.
        seconds: Longest time to send a request, and again to wait for its answer.
        waiting: Most requests at once, the one that is worked on among them.
        per_client: Most of them from one address.
    """

    max_bytes: int = 25_000_000
    max_pixels: int = 25_000_000
    seconds: float = 60.0
    waiting: int = 8
    per_client: int = 4


class RefusedError(UnmaskError):
    """A request is not served: an HTTP status, and a sentence for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def as_refusal(error: UnmaskError) -> RefusedError:
    """Say with an HTTP status what was wrong with somebody's photo or settings."""
    if isinstance(error, RefusedError):
        return error
    for kind, status in (
        (ImageSizeError, 413),
        (ImageFormatError, 415),
        (ImageError, 400),
        (SettingError, 422),
    ):
        if isinstance(error, kind):
            return RefusedError(status, str(error))
    return RefusedError(500, "the networks cannot be used; the server's log says why")


class Desk:
    """Takes requests up to the limits, and works on one at a time: a network uses all cores.

    Args:
        limits: Limits.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._worker = ThreadPoolExecutor(1, "unmask")
        self._present: Counter[str] = Counter()
        self._lock = Lock()

    async def do(self, client: str, prepare: Callable[[], Awaitable[Callable[[], T]]]) -> T:
        """Do a client's work.

        Args:
            client: Address of the client.
            prepare: Receives the request, and returns the work, which a thread does.

        Returns:
            What the work returns.

        Raises:
            RefusedError: Too many requests are there, or it takes too long.
        """
        self._enter(client)
        try:
            work = await asyncio.wait_for(prepare(), self.limits.seconds)
            future = self._worker.submit(work)
        except BaseException as error:
            self._leave(client)
            if isinstance(error, asyncio.TimeoutError):
                raise RefusedError(408, "the request did not arrive in time") from error
            raise
        # What has begun cannot be stopped: its place is free when it ends, whoever still waits.
        future.add_done_callback(lambda _: self._leave(client))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.limits.seconds)
        except asyncio.TimeoutError as error:
            text = f"not done within {self.limits.seconds:g} seconds; try a smaller photo, or later"
            raise RefusedError(504, text) from error

    def close(self) -> None:
        """Begin nothing any more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _enter(self, client: str) -> None:
        with self._lock:
            if self._present[client] >= self.limits.per_client:
                raise RefusedError(429, "too many requests of yours at once; wait for the others")
            if self._present.total() >= self.limits.waiting:
                raise RefusedError(503, "too many requests at once; try again in a few seconds")
            self._present[client] += 1

    def _leave(self, client: str) -> None:
        with self._lock:
            self._present[client] -= 1
            # Or every client that ever came would be remembered.
            if not self._present[client]:
                del self._present[client]
