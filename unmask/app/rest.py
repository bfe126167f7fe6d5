"""The REST interface: a photo in, a photo out, or JSON with what was found.

What a request brings is kept in memory.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from unmask._version import __version__
from unmask.app.complete import complete
from unmask.app.desk import Desk, RefusedError, as_refusal
from unmask.app.guard import LOOPBACK, Guard
from unmask.errors import UnmaskError
from unmask.pipeline import Unmasker
from unmask.result import Result

NOTICE = (
    "Plausible, not true: what a mask hides cannot be seen. "
    "Never use a result to recognise anybody."
)
"""What stands wherever a result is shown."""

_RAW = ("application/octet-stream", "image/")
_FIELDS = ("photo", "mask")

_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {"photo": _FILE, "mask": _FILE},
                }
            },
            "image/*": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture, or JSON with the faces, their masks and the picture",
        "content": {"image/png": {"schema": _FILE}, "application/json": {}},
    },
    400: {"description": "The photo, the mask or the form is broken, or too small"},
    401: {"description": "The token is missing or wrong"},
    408: {"description": "The request did not arrive in time"},
    413: {"description": "Too many bytes or pixels"},
    415: {"description": "Neither an image of a known format nor a form"},
    422: {"description": "A parameter has a value that it cannot have"},
    429: {"description": "Too many requests at once from one address"},
    503: {"description": "Too many requests at once"},
    504: {"description": "Not done in time"},
}


def build_rest(
    unmasker: Unmasker,
    desk: Desk,
    *,
    hosts: frozenset[str] | None = LOOPBACK,
    token: str | None = None,
    at_end: Callable[[], None] | None = None,
) -> FastAPI:
    """Make the web application without its page.

    Args:
        unmasker: What completes the photos.
        desk: Where requests wait.
        hosts: The names by which the server may be called; any when None.
        token: What a client has to know; nothing when None.
        at_end: Called when the server stops.

    Returns:
        The application, for uvicorn or any other ASGI server.

    Example:
        >>> from unmask.app.desk import Desk, Limits
        >>> from unmask.pipeline import Unmasker
        >>> limits = Limits()
        >>> app = build_rest(Unmasker(max_pixels=limits.max_pixels), Desk(limits))
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()
        if at_end is not None:
            at_end()

    app = FastAPI(
        title="unmask", version=__version__, description=NOTICE, lifespan=lifespan, redoc_url=None
    )
    app.add_middleware(Guard, hosts=hosts, token=token)

    @app.exception_handler(UnmaskError)
    async def refuse(request: Request, error: UnmaskError) -> Response:
        refusal = as_refusal(error)
        headers = {"Retry-After": "5"} if refusal.status in (429, 503) else None
        return JSONResponse({"detail": str(refusal)}, refusal.status, headers)

    @app.get("/api/health")
    async def health() -> dict[str, str]:
        """Tell that the server is there."""
        return {"status": "ok", "version": __version__}

    @app.post("/api/unmask", openapi_extra=_BODY, responses=_ANSWERS, response_class=Response)
    async def unmask(
        request: Request,
        gender: Annotated[list[Literal["female", "male"]] | None, Query(max_length=64)] = None,
        seed: Annotated[int, Query(ge=0, lt=2**32)] = 0,
        format: Annotated[Literal["png", "json"] | None, Query()] = None,  # noqa: A002
    ) -> Response:
        """Complete the masked faces of a photo.

        `gender` is one for all faces, or given once for each face in the answer's order. The answer
        is a PNG, or JSON where `format` or the Accept header says so. Masks are run lengths as in
        COCO: `size` is height and width, `counts` begins with zeros and goes down the columns.
        """
        wanted = format or _accepted(request.headers.get("accept", ""))

        async def prepare() -> Callable[[], Response]:
            files = await read_files(request, desk.limits.max_bytes)
            settings = {"mask": files.get("mask"), "genders": gender or (), "seed": seed}
            return partial(_answer, unmasker, files["photo"], settings, wanted)

        client = request.client.host if request.client else ""
        return await desk.do(client, prepare)

    return app


def _accepted(accept: str) -> str:
    return "json" if "application/json" in accept and "image/" not in accept else "png"


def _answer(unmasker: Unmasker, photo: bytes, settings: dict[str, Any], wanted: str) -> Response:
    result = complete(unmasker, photo, **settings)
    png = result.encode("PNG")
    if wanted == "json":
        return JSONResponse(_described(result, settings["seed"], png))
    counts = {"X-Unmask-Faces": len(result.faces), "X-Unmask-Skipped": len(result.skipped)}
    return Response(png, 200, {name: str(count) for name, count in counts.items()}, "image/png")


def _described(result: Result, seed: int, png: bytes) -> dict[str, Any]:
    """What JSON says: `painted` is every pixel that may have changed, `mask` what is worn."""
    height, width = result.image.shape[:2]
    found = result.to_dict()
    for entry, face in zip(found["faces"], result.faces, strict=True):
        entry |= {"painted": run_lengths(face.mask), "mask": run_lengths(face.worn)}
    picture = base64.b64encode(png).decode("ascii")
    return {
        "notice": NOTICE, "version": __version__, "seed": seed, "width": width,
        "height": height, **found, "image": picture,
    }  # fmt: skip


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Return a mask, (H, W) bool, as COCO's uncompressed run lengths.

    Example:
        >>> run_lengths(np.array([[False, True], [True, True]]))
        {'size': [2, 2], 'counts': [1, 3]}
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


# === The body of a request: an image file, or a form with files ===


class _Parser(MultiPartParser):
    # By default larger files go to the disk.
    spool_max_size = 2**62


async def read_files(request: Request, max_bytes: int) -> dict[str, bytes]:
    """Read the photo of a request, and the mask if it has one: the files' bytes by field.

    Its body, of at most `max_bytes`, is an image file, or a form with the files `photo` and `mask`.

    Raises:
        RefusedError: The body is too long, of another kind, or lacks the photo.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body = _limited(request, max_bytes)
    if kind == "multipart/form-data":
        files = await _form(request, body)
    elif kind.startswith(_RAW):
        files = {"photo": b"".join([chunk async for chunk in body])}
    else:
        text = "send multipart/form-data with the file `photo`, or an image with its own type"
        raise RefusedError(415, f"{text}. Received: {kind or 'no Content-Type'}")
    if not files.get("photo"):
        raise RefusedError(400, "no photo: the body, or its field `photo`, is empty")
    return files


async def _limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "")
    seen = int(announced) if announced.isdecimal() else 0
    if seen <= most:
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > most:
                break
            yield chunk
    if seen > most:
        raise RefusedError(413, f"more than {most} bytes")


async def _form(request: Request, body: AsyncGenerator[bytes, None]) -> dict[str, bytes]:
    try:
        form = await _Parser(request.headers, body, max_files=2, max_fields=0).parse()
    except MultiPartException as error:
        raise RefusedError(400, f"not a readable form: {error.message}") from error
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if name not in _FIELDS or name in files or not isinstance(value, UploadFile):
            known = ", ".join(_FIELDS)
            raise RefusedError(422, f"a form has the files {known}, once. Received: {name!r}")
        files[name] = await value.read()
    await form.close()
    return files
