"""`unmask evaluate parsing`: F-scores of a face parser on held-out faces."""

from __future__ import annotations

from unmask.cli.arguments import ExistingDirectory, ExistingFile, OutFolder


def evaluate_parsing(
    *,
    data: list[ExistingDirectory],
    weights: ExistingFile | None = None,
    split: str = "val",
    out: OutFolder,
) -> None:
    """Measure a face parser on held-out faces, class by class.

    The faces are those of faces_celebahq, or of other face folders with a PNG of CelebAMask-HQ's
    class numbers beside each image. Writes evaluation.json and evaluation.md.

    Args:
        data: Face folders, or folders with faces_celebahq.
        weights: Weights of a parser. Default: the shipped ones.
        split: Split of the faces.
        out: Folder for the results.
    """
    import json
    from dataclasses import asdict

    from unmask.io import write_text_atomic
    from unmask.parsing.data import gather_labelled
    from unmask.parsing.evaluate import markdown_table, measure_records
    from unmask.paths import check_outputs
    from unmask.training.helpers import load_parser

    records = gather_labelled(data, {"faces_celebahq": 1.0}, split).records
    results = [out / name for name in ("evaluation.json", "evaluation.md")]
    check_outputs(results, (record.path for record in records))
    scores = measure_records(load_parser(weights), records)
    write_text_atomic(results[0], json.dumps(asdict(scores), indent=2) + "\n")
    write_text_atomic(results[1], markdown_table(scores))
    print(markdown_table(scores))
