"""`unmask compare`: the paper's Figures 7 and 8, with whatever weights are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unmask.cli.arguments import ExistingDirectory, OutFolder, PositiveInt, Pretrained, Seed
from unmask.cli.progress import report, track

if TYPE_CHECKING:
    from unmask.evaluation.comparison import MaskedFace


def compare(
    data: list[ExistingDirectory],
    /,
    *,
    out: OutFolder,
    systems: list[str] | None = None,
    weights: ExistingDirectory | None = None,
    features: Pretrained | None = None,
    split: str = "val",
    count: PositiveInt = 8,
    seed: Seed = 1234,
) -> int:
    """Let several systems complete the same faces, side by side.

    Faces get a drawn mask each, or keep the one that `unmask synthesize` gave them. Writes
    comparison.png, comparison.md (hole PSNR, SSIM, seconds a face, and perceptual distance with
    --features) and comparison.json. Systems whose weights are missing are named, with where these
    come from; the exit status is 1 where one of them was asked for, or a face failed.

    Args:
        data: Face folders with genders, or folders that `unmask synthesize` filled.
        out: Folder for the results.
        systems: Some of lite, paper, deepfill2, pluralistic, edgeconnect, aot and lafin. Default:
            all whose weights are there.
        weights: Folder that holds a folder a rival, named like it, with the published files as
            they are or with what `unmask train rivals/NAME` made, which the picture then says; for
            paper maybe a manifest.toml.
        features: Also measure perceptual distances, by an .npz of a compressed VGG-19, a file of
            VGG-19's weights (torchvision's .pth, Keras' .h5), or "imagenet": Keras downloads it.
        split: Split of the faces.
        count: Number of faces; the picture shows the first eight.
        seed: Of faces, masks and results.
    """
    from unmask.rivals import SYSTEMS, get_system

    for name in systems or ():
        get_system(name)

    from unmask.evaluation.comparison import compare as run
    from unmask.inpainting.features import load_features

    vgg = load_features(features) if features else None
    faces, failed = _faces([*data], split, count, seed)
    comparison = run(faces, systems or SYSTEMS, weights, features=vgg, seed=seed)
    comparison.write(out)
    print(comparison.table(), end="")
    return 1 if failed or (systems and comparison.missing) else 0


def _faces(
    folders: list[ExistingDirectory], split: str, count: int, seed: int
) -> tuple[list[MaskedFace], int]:
    from unmask.errors import UnmaskError
    from unmask.evaluation.comparison import MaskedFace
    from unmask.evaluation.scenes import choose_records, load_scene
    from unmask.synthesis import MaskSynthesizer

    records = choose_records(folders, split=split, count=count, seed=seed)
    synthesizer = MaskSynthesizer(seed)
    faces = []
    for record in track(records, "faces"):
        try:
            faces.append(MaskedFace.of(load_scene(record, synthesizer)))
        except (UnmaskError, OSError) as error:
            report(error)
    return faces, len(records) - len(faces)
