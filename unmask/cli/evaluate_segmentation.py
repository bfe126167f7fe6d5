"""`unmask evaluate segmentation`: mask segmenters side by side, on held-out photos."""

from __future__ import annotations

from unmask.cli.arguments import Count, ExistingDirectory, ExistingFile, OutFolder
from unmask.cli.progress import track


def evaluate_segmentation(
    *,
    data: ExistingDirectory,
    weights: list[ExistingFile] | None = None,
    verifier: ExistingFile | None = None,
    faces: Count = 120,
    once: bool = False,
    out: OutFolder,
) -> None:
    """Measure mask segmenters side by side, on held-out photos.

    Measures each weight file, of a small U-Net or of a Mask R-CNN, on the validation split of
    masks_labelme, and, where they exist, on mask_segmentation and faces_wide. Writes
    evaluation.json and evaluation.md.

    Args:
        data: Folder with masks_labelme.
        weights: Weights of U-Nets and Mask R-CNNs; a row each, in this order. Default: the shipped
            U-Net with the shipped verifier.
        verifier: Network that judges what the U-Nets find. Default with --weights: none.
        faces: Faces without masks, and with drawn ones.
        once: U-Nets look once at a photo, as Mask R-CNNs do, instead of taking a mean over looks.
        out: Folder for the results.
    """
    import json
    from dataclasses import asdict

    from unmask.data.stream import count_cores
    from unmask.io import write_text_atomic
    from unmask.paths import check_outputs
    from unmask.segmentation.evaluate import (
        load_segmenter,
        markdown_table,
        measure,
        read_photos,
    )
    from unmask.weights import file_sha256, find

    # A JSON file among Labelme's would be taken for one of them.
    check_outputs([out], [data / "masks_labelme", data / "mask_segmentation", data / "faces_wide"])
    if weights is None:
        weights = [find("lite", "segmentation").path]
        verifier = verifier or find("lite", "verifier").path
    segmenters = [load_segmenter(path, verifier, thorough=not once) for path in weights]
    photos = read_photos(data, faces)
    scores = [measure(segmenter, photos) for segmenter in track(segmenters, "networks")]
    cores = count_cores()
    rows = [
        {"file": str(path), "sha256": file_sha256(path), **asdict(row)}
        for path, row in zip(weights, scores, strict=True)
    ]
    table = markdown_table(scores, cores)
    content = json.dumps({"cores": cores, "networks": rows}, indent=2)
    write_text_atomic(out / "evaluation.json", content + "\n")
    write_text_atomic(out / "evaluation.md", table)
    print(table)
