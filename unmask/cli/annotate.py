"""`unmask annotate`: predicted masks, to be corrected by hand in Labelme."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from unmask.cli.arguments import ExistingDirectory, ExistingFile, OutFolder, PositiveInt
from unmask.cli.progress import report, track


def annotate(
    inputs: list[Path],
    /,
    *,
    out: OutFolder,
    label: str = "mask",
    weights_dir: ExistingDirectory | None = None,
    finder: ExistingFile | None = None,
    recursive: bool = False,
    runtime: Literal["auto", "keras", "onnx"] = "auto",
    max_pixels: PositiveInt = 80_000_000,
) -> int:
    """Draw polygons around the masks that are found, for Labelme.

    OUT gets a JSON file for each photo, and the photo. The polygons are predictions, which their
    flag "predicted" and their description with the score say: correct them in Labelme. A file that
    exists is never touched, so that the command can be called again. A photo that cannot be read
    is reported, and the others go on. The exit status is 1 then.

    Args:
        inputs: Photos, or folders of photos.
        out: Folder to write to; it may be that of the photos.
        label: Label of the polygons.
        weights_dir: Folder with a manifest.toml of your own.
        finder: Weights of another network that finds the masks, such as a trained Mask R-CNN.
        recursive: Also the folders inside folders, but not OUT; that is laid out alike.
        runtime: What runs the networks; auto: ONNX Runtime where it is installed, else Keras.
        max_pixels: Largest accepted width times height of a photo.
    """
    from unmask.annotate import annotate_photos
    from unmask.folders import find_photos
    from unmask.pipeline import Unmasker

    photos, inside = find_photos(inputs, recursive, [out])
    unmasker = Unmasker(
        weights_dir=weights_dir, finder=finder, runtime=runtime, max_pixels=max_pixels
    )
    made = annotate_photos(unmasker, photos, out, label=label, inside=inside)
    masks = written = failed = 0
    for done in track(made, "annotating", len(photos)):
        if done.error:
            failed += 1
            report(done.error)
        elif done.masks is not None:
            written += 1
            masks += done.masks
    kept = len(photos) - written - failed
    there = f"; {kept} had their files already" if kept else ""
    print(f"{written} of {len(photos)} photos annotated, {masks} masks{there}")
    return 1 if failed else 0
