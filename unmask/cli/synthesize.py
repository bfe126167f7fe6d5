"""`unmask synthesize`: put masks onto a folder of faces."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from unmask.cli.arguments import ExistingDirectory, Folder, PositiveInt, Seed, Share
from unmask.cli.progress import report, track


def synthesize(
    source: ExistingDirectory,
    destination: Folder,
    /,
    *,
    layout: Literal["auto", "ffhq", "celeba", "utkface", "table", "faces", "images"] = "auto",
    seed: Seed = 0,
    kinds: str | None = None,
    bank: PositiveInt = 160,
    templates: ExistingDirectory | None = None,
    frame: Literal["canonical", "source"] = "canonical",
    size: PositiveInt = 256,
    image_format: Annotated[Literal["png", "jpg"], Parameter(name="--format")] = "png",
    gender: Literal["auto", "labels"] = "auto",
    val_share: Share = 0.05,
    preset: str = "lite",
    workers: PositiveInt = 1,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
) -> int:
    """Put drawn masks onto faces: images, masks, landmarks.

    The face is found where no table says where it is, brought into the canonical crop, and masked.
    DESTINATION gets images/ (bare), masked/, masks/ (white: mask), labels.csv (the manifest),
    landmarks98.npz and synthesis.json; the trainers take it as it is. Started again, it goes on
    where it stopped. Pictures without a face are reported and left out; the exit status is 1 then.

    Args:
        source: FFHQ, CelebA (aligned, with list_attr_celeba.txt), UTKFace, images with
            landmarks.csv or landmarks98.npz, or any folder of portraits.
        destination: Folder to fill.
        layout: What SOURCE is; auto: by its files.
        seed: Another seed, other masks.
        kinds: Families of masks, separated by commas, such as cloth,surgical. Default: all.
        bank: Number of different drawn masks.
        templates: MaskTheFace folder (masks.cfg) to add.
        frame: Write the canonical crop, or the whole picture.
        size: Side of the crop, pixels.
        image_format: Of the images; masks are always png.
        gender: Ask the classifier where there is no label, or leave it unknown.
        val_share: Share of faces without a split of their own that validate, by their names.
        preset: Whose networks find faces.
        workers: Processes or Ray actors.
        engine: Who does the work.
        ray_address: Of a Ray cluster. Default: one is started here.
    """
    from unmask.engines import one_thread_each

    one_thread_each()
    from unmask.synthesis.drawing import ALL_KINDS
    from unmask.synthesis.pairs import SynthesisSettings, write_pairs
    from unmask.synthesis.sources import read_source

    settings = SynthesisSettings(
        seed=seed,
        bank_size=bank,
        kinds=tuple(kinds.split(",")) if kinds else ALL_KINDS,
        templates=str(templates) if templates else None,
        frame=frame,
        size=size,
        image_format=image_format,
        gender=gender,
        val_share=val_share,
        preset=preset,
    )
    faces = read_source(source, layout, destination=destination)
    results = write_pairs(
        faces, destination, settings, workers=workers, engine=engine, ray_address=ray_address
    )
    failed = 0
    for result in track(results, "masks", len(faces)):
        if result.error:
            failed += 1
            report(result.error)
    print(f"{len(faces) - failed} of {len(faces)} faces: {destination}")
    return 1 if failed else 0
