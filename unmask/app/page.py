"""The page: a photo, its result under a slider, faces to switch, and the mask under a brush."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image, ImageOps

from unmask.app.complete import complete
from unmask.app.desk import Desk, RefusedError, as_refusal
from unmask.app.rest import NOTICE
from unmask.errors import UnmaskError
from unmask.face import grow
from unmask.pipeline import Unmasker
from unmask.presets import GENDERS
from unmask.result import Result

# Files of the page are deleted after so many seconds.
_KEPT_SECONDS = 600
# A canvas of more pixels a side is slow on a phone.
_CANVAS = 1024
# Largest change of the mask by a number instead of the brush, in pixels of the canvas.
_GROWTH = 40
_RED, _RED_CSS, _OPACITY = (225, 29, 72), "#e11d48", 0.6
# The notice is above the brush's tools and all else, and what has the focus is never behind it.
_CSS = """
#notice { position: fixed; bottom: 0; left: 0; right: 0; z-index: calc(var(--layer-top) + 1);
  margin: 0; padding: .5rem 1rem; background: #7f1d1d; color: #fff; text-align: center; }
.gradio-container { padding-bottom: 5rem !important; }
html { scroll-padding-bottom: 5rem; }
:focus-visible { outline: 3px solid #2563eb !important; outline-offset: 2px; }
"""


def mount_page(app: FastAPI, unmasker: Unmasker, desk: Desk) -> FastAPI:
    """Put the page at "/" of an application of `build_rest`; its requests wait at the same desk."""
    # Fonts of the reader's own machine: nothing is loaded from elsewhere.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    # Its own grey is too pale to be read.
    theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
    page = build_page(unmasker, desk)
    page.queue(max_size=desk.limits.waiting, default_concurrency_limit=desk.limits.waiting)
    return gr.mount_gradio_app(
        app, page, "/", max_file_size=desk.limits.max_bytes, theme=theme, css=_CSS,
        footer_links=[], run_history=False, ssr_mode=False, mcp_server=False, pwa=False,
        enable_monitoring=False,
    )  # fmt: skip


def build_page(unmasker: Unmasker, desk: Desk) -> gr.Blocks:
    """Lay out the page, and say what its parts do."""
    with gr.Blocks(
        title="unmask", analytics_enabled=False, delete_cache=(60, _KEPT_SECONDS)
    ) as page:
        gr.HTML(f'<p id="notice" role="note">{NOTICE}</p>', padding=False)
        with gr.Row():
            with gr.Column():
                photo = _uploads_only(gr.Image(
                    sources=["upload", "clipboard", "webcam"], type="filepath", label="Photo",
                    buttons=[], elem_id="photo",
                ))  # fmt: skip
                # The pipeline's own reader looks into it.
                photo.preprocess = lambda payload: payload and payload.path
                seed = gr.Number(0, label="Seed of the film grain", precision=0, minimum=0)
                run = gr.Button("Run", variant="primary", elem_id="run")
            with gr.Column():
                slider = gr.ImageSlider(
                    label="Before and after", interactive=False, format="png",
                    buttons=["fullscreen"], elem_id="slider",
                )  # fmt: skip
                border = gr.Slider(
                    0, 100, 50, step=5, label="Border between them, in percent",
                    buttons=[], elem_id="border",
                )  # fmt: skip
                said = gr.Markdown(elem_id="said")
                faces = gr.State([])
                choices = gr.Column()
                download = gr.DownloadButton("Download as PNG", interactive=False, elem_id="png")
        with gr.Tab("Correct the mask"):
            gr.Markdown("What the mask covers: paint with the brush, take away with the eraser.")
            editor = _uploads_only(gr.ImageEditor(
                type="numpy", format="png", layers=False, transforms=(), sources=(),
                brush=gr.Brush(24, colors=[(_RED_CSS, _OPACITY)], color_mode="fixed"),
                # On a phone a longer label lies under the tools.
                label="Mask", canvas_size=(_CANVAS, _CANVAS), height=600, elem_id="editor",
            ))  # fmt: skip
            growth = gr.Slider(
                -_GROWTH, _GROWTH, 0, step=1, label="Grow or shrink it, in pixels", buttons=[],
                elem_id="growth",
            )  # fmt: skip
            again = gr.Button("Run again with this mask", elem_id="again")
        with gr.Tab("What was painted"):
            painted = gr.Image(
                label="Every pixel that may have changed", interactive=False, format="png",
                buttons=["fullscreen"], elem_id="painted",
            )  # fmt: skip
        corrected = gr.State(False)
        shown = [slider, said, faces, download, painted]

        async def first(path: str | None, seed: int, request: gr.Request) -> list[Any]:
            if path is None:
                return [*_nothing(), None, False]
            result = await _completed(unmasker, desk, request, path, seed)
            return [*_shown(result), _canvas(result), False]

        async def masked(
            path: str | None, seed: int, drawn: dict[str, Any], pixels: float, found: list[Any],
            request: gr.Request,
        ) -> list[Any]:  # fmt: skip
            chosen = [face["gender"] for face in found if face["chosen"]]
            genders = chosen if len(chosen) == len(found) else []
            result = await _completed(
                unmasker, desk, request, path, seed, mask=_drawn(drawn, pixels), genders=genders
            )
            return [*_shown(result, chosen=bool(genders)), True]

        async def switched(
            # First, because gradio counts places.
            request: gr.Request, path: str | None, seed: int, drawn: dict[str, Any], pixels: float,
            keep: bool, *genders: str,
        ) -> list[Any]:  # fmt: skip
            mask = _drawn(drawn, pixels) if keep else None
            result = await _completed(
                unmasker, desk, request, path, seed, mask=mask, genders=genders
            )
            return _shown(result, chosen=True)

        first_run: dict[str, Any] = {
            "fn": first, "inputs": [photo, seed], "outputs": [*shown, editor, corrected],
            "api_visibility": "private",
        }  # fmt: skip
        photo.input(**first_run)
        run.click(**first_run)
        again.click(
            masked, [photo, seed, editor, growth, faces], [*shown, corrected],
            api_visibility="private",
        )  # fmt: skip
        # The mouse moves the border on the picture, the keyboard by this.
        border.input(
            lambda share: gr.ImageSlider(slider_position=share), border, slider,
            queue=False, show_progress="hidden", api_visibility="private",
        )  # fmt: skip

        with choices:

            @gr.render(inputs=faces)
            def list_faces(found: list[dict[str, Any]]) -> None:
                radios = []
                for number, face in enumerate(found, 1):
                    # Its key keeps a part, and with it the keyboard's focus, from run to run.
                    with gr.Row(equal_height=True, key=f"row {number}"):
                        gr.Image(
                            face["crop"], label=f"Face {number}", interactive=False, height=120,
                            width=120, min_width=120, scale=0, buttons=[], format="png",
                            key=f"crop {number}", preserved_by_key=None,
                        )  # fmt: skip
                        # What is made after the page has loaded is interactive only on demand.
                        radios.append(gr.Radio(
                            list(GENDERS), value=face["gender"], label=face["label"],
                            info="Whose weights paint the face; a guess, not a statement",
                            interactive=True, key=f"gender {number}", preserved_by_key=None,
                        ))  # fmt: skip
                for radio in radios:
                    radio.input(
                        switched, [photo, seed, editor, growth, corrected, *radios], shown,
                        api_visibility="private",
                    )  # fmt: skip

    return page


def _uploads_only(component: Any) -> Any:
    """Have a component take the files that were uploaded to it, and load none from elsewhere."""
    # Not by inheritance: gradio writes a file beside the code of a class that derives from its own.
    take = component.async_move_resource_to_block_cache

    async def take_uploads(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise gr.Error("only uploaded files are read", print_exception=False)
        return await take(path)

    component.async_move_resource_to_block_cache = take_uploads
    return component


async def _completed(
    unmasker: Unmasker,
    desk: Desk,
    request: gr.Request,
    path: str | None,
    seed: int,
    *,
    mask: NDArray[np.bool_] | None = None,
    genders: Sequence[str] = (),
) -> Result:
    async def prepare() -> Callable[[], Result]:
        if path is None:
            raise RefusedError(400, "first choose a photo")
        try:
            content = Path(path).read_bytes()
        except FileNotFoundError as error:
            raise RefusedError(400, "the photo is not here any more; choose it again") from error
        return partial(complete, unmasker, content, mask=mask, genders=genders, seed=int(seed or 0))

    try:
        return await desk.do(request.client.host, prepare)
    except (UnmaskError, ValueError) as error:
        refusal = as_refusal(error) if isinstance(error, UnmaskError) else error
        raise gr.Error(str(refusal).removeprefix("<bytes>: "), print_exception=False) from error


def _nothing() -> list[Any]:
    return [None, "", [], gr.DownloadButton(interactive=False), None]


def _shown(result: Result, *, chosen: bool = False) -> list[Any]:
    """What the page shows of a result, in the order of its outputs."""
    found = [
        {
            "label": f"Face {number}: {face.gender if chosen else face.gender_label}",
            "gender": face.gender,
            "chosen": chosen,
            "crop": face.crop_after,
        }
        for number, face in enumerate(result.faces, 1)
    ]
    file = gr.DownloadButton(value=_file(result), interactive=True)
    return [(result.original, result.image), _sentence(result), found, file, _overlay(result)]


def _sentence(result: Result) -> str:
    parts = []
    if not result.faces:
        parts.append("No masked face was found: the photo is unchanged.")
    if result.skipped:
        parts.append(
            f"{len(result.skipped)} left as found, turned or hidden too far. Paint the mask below "
            "to have it completed all the same."
        )
    return " ".join(parts)


def _file(result: Result) -> str:
    """Write the PNG where the page's files are, which are deleted."""
    content = result.encode("PNG")
    folder = Path(gr.utils.get_upload_folder()) / hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "unmasked.png"
    path.write_bytes(content)
    return str(path)


def _overlay(result: Result) -> NDArray[np.uint8]:
    image = result.original.copy()
    red = np.array(_RED, np.float32)
    image[result.mask] = ((1 - _OPACITY) * image[result.mask] + _OPACITY * red).astype(np.uint8)
    return image


def _canvas(result: Result) -> dict[str, Any]:
    """Return the photo and the mask that was found, for the brush."""
    photo = np.asarray(ImageOps.contain(Image.fromarray(result.original), (_CANVAS, _CANVAS)))
    height, width = photo.shape[:2]
    # A layer lies on the photo only if both fill the canvas.
    background, layer = np.zeros((2, _CANVAS, _CANVAS, 4), np.uint8)
    background[:height, :width] = np.dstack([photo, np.full((height, width), 255, np.uint8)])
    worn = np.any([np.zeros(result.original.shape[:2], bool), *(f.worn for f in result.faces)], 0)
    small = Image.fromarray(worn).resize((width, height), Image.Resampling.NEAREST)
    layer[:height, :width][np.asarray(small)] = (*_RED, round(255 * _OPACITY))
    return {"background": background, "layers": [layer], "composite": None}


def _drawn(canvas: dict[str, Any] | None, pixels: float) -> NDArray[np.bool_]:
    """Return the mask on the canvas, grown by so many pixels, at the photo's size there."""
    if not canvas or canvas["background"] is None or not canvas["layers"]:
        raise gr.Error("first choose a photo", print_exception=False)
    inside = canvas["background"][..., 3] > 0
    height, width = inside.any(1).sum(), inside.any(0).sum()
    # The brush's edge is soft.
    drawn = np.any([layer[..., 3] > 64 for layer in canvas["layers"]], axis=0)[:height, :width]
    return grow(drawn, int(pixels)) if pixels > 0 else ~grow(~drawn, int(-pixels))
