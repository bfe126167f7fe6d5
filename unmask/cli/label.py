"""`unmask label`: masks for photos that nobody has labelled, where a teacher is sure."""

from __future__ import annotations

from unmask.cli.arguments import ExistingFile, ExistingPath, Folder, Pretrained
from unmask.cli.progress import report, track


def label(
    source: ExistingPath,
    destination: Folder,
    /,
    *,
    weights: ExistingFile,
    backbone: Pretrained,
    not_in: ExistingPath | None = None,
) -> int:
    """Label the masks in photos with a trained teacher.

    Photos that it is sure of go to DESTINATION, NAME.jpg with NAME.png (2 where a mask is), for a
    training of the segmenter; decisions.csv says there what became of every photo. A photo that
    cannot be read is reported, the others are labelled all the same; the exit status is 1 then.

    Args:
        source: Folder of photos, or one photo.
        destination: New folder to fill.
        weights: The decoder: segmentation.safetensors of the teacher's training.
        backbone: The weights of InceptionV3 that its training had. "imagenet": Keras downloads
            them.
        not_in: Photos that the segmenter is to be measured on: copies of them are left out.
    """
    from unmask.errors import ImageError
    from unmask.image import find_images

    photos = find_images(source)
    if not photos:
        raise ImageError(f"no photos in {source}")

    from unmask.segmentation.teacher import DECISIONS, label_photos, load_teacher

    teacher = load_teacher(weights, backbone)
    kept = failed = 0
    apart = find_images(not_in) if not_in else []
    results = label_photos(teacher, photos, destination, apart=apart)
    for result in track(results, "labelling", len(photos)):
        kept += result.label is not None
        if result.error:
            failed += 1
            report(result.error)
    print(f"{kept} of {len(photos)} photos kept: {destination / DECISIONS}")
    return 1 if failed else 0
