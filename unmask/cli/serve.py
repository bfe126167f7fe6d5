"""`unmask serve`: the page in the browser, and its REST interface."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from unmask.cli.arguments import ExistingDirectory, PositiveFloat, PositiveInt

# Pictures of a page or two; a container's /dev/shm is often smaller.
_ENOUGH_MEMORY = 500_000_000


def serve(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lt=65536))] = 7860,
    token: Annotated[str | None, Parameter(env_var="UNMASK_TOKEN")] = None,
    preset: str = "lite",
    weights_dir: ExistingDirectory | None = None,
    api_only: bool = False,
    max_bytes: PositiveInt = 25_000_000,
    max_pixels: PositiveInt = 25_000_000,
    seconds: PositiveFloat = 60,
    waiting: PositiveInt = 8,
    per_client: PositiveInt = 4,
) -> None:
    """Serve the page for browsers, and answer POST /api/unmask.

    Only this machine can reach it, unless --host says otherwise. Photos are kept in memory while
    they are worked on, and the page's pictures for ten minutes.

    Args:
        host: Address to listen at; 0.0.0.0 for every machine that can reach this one.
        port: Port to listen at.
        token: Secret that clients must send, also from the environment variable UNMASK_TOKEN.
        preset: Which weights to use.
        weights_dir: Folder with a manifest.toml of your own.
        api_only: Without the page, which is what needs gradio.
        max_bytes: Largest request.
        max_pixels: Largest accepted width times height of a photo.
        seconds: Longest time for a request to arrive, and again for its answer.
        waiting: Maximum number of requests held at once; one is worked on, the others wait.
        per_client: Most of them from one address.
    """
    from unmask.errors import require

    page_only = [] if api_only else ["gradio"]
    require("serve", "'unmask[app]'", "fastapi", "uvicorn", "python_multipart", *page_only)
    import uvicorn

    from unmask.app.desk import Desk, Limits
    from unmask.app.guard import LOOPBACK
    from unmask.app.rest import build_rest
    from unmask.pipeline import Unmasker

    folder = None if api_only else _page_folder()
    try:
        if folder:
            from unmask.app.page import mount_page

        unmasker = Unmasker(preset, weights_dir, max_pixels=max_pixels).load()
        desk = Desk(Limits(max_bytes, max_pixels, seconds, waiting, per_client))
        hosts = LOOPBACK if host in LOOPBACK else None
        # A signal ends the process before "finally".
        app = build_rest(unmasker, desk, hosts=hosts, token=token, at_end=lambda: _remove(folder))
        if folder:
            app = mount_page(app, unmasker, desk)
        place = f"[{host}]" if ":" in host else host
        page = f"/?token={token}" if token else "/"
        print(f"http://{place}:{port}{'/docs' if api_only else page}", flush=True)
        uvicorn.run(
            app, host=host, port=port, log_level="warning", server_header=False,
            limit_concurrency=256, timeout_graceful_shutdown=5,
        )  # fmt: skip
    finally:
        _remove(folder)


def _page_folder() -> str:
    """Make a folder for the page's pictures, in memory where there is enough, and tell gradio."""
    memory = Path("/dev/shm")
    enough = memory.is_dir() and shutil.disk_usage(memory).free >= _ENOUGH_MEMORY
    folder = tempfile.mkdtemp(prefix="unmask-", dir=memory if enough else None)
    os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
    return folder


def _remove(folder: str | None) -> None:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
