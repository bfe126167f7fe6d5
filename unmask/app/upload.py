"""The body of a request, kept in memory: an image file, or a form with files."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from unmask.app.desk import RefusedError

_RAW = ("application/octet-stream", "image/")
_FIELDS = ("photo", "mask")


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
