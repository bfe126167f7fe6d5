"""`unmask evaluate pipeline`: the whole, and what each stage costs it."""

from __future__ import annotations

from unmask.cli.arguments import Count, ExistingDirectory, OutFolder, Seed
from unmask.cli.progress import report, track


def evaluate_pipeline(
    *,
    data: list[ExistingDirectory],
    out: OutFolder,
    preset: str = "lite",
    weights_dir: ExistingDirectory | None = None,
    split: str = "val",
    count: Count = 120,
    seed: Seed = 1234,
    name_genders: bool = False,
) -> int:
    """Measure the whole pipeline, and what each stage costs it.

    Faces get a drawn mask each (or keep the one that `unmask synthesize` gave them), and the
    pipeline completes them with predicted and with true gender, landmarks and mask in every
    combination. Writes evaluation.json, faces.csv, evaluation.md and table.tex; started again, it
    goes on where it stopped. The exit status is 1 where a face failed.

    Args:
        data: Face folders, or folders that `unmask synthesize` filled.
        out: Folder for the results.
        preset: Which networks.
        weights_dir: Folder of a manifest of your own.
        split: Split of the faces.
        count: Number of faces, 0 for all; a few seconds each.
        seed: Of faces and masks.
        name_genders: Let the shipped gender network name the faces of unknown gender, by the bare
            face, where it is sure.
    """
    from unmask.presets import get_preset

    get_preset(preset)

    from unmask.evaluation.run import EvaluationConfig, PipelineEvaluation

    config = EvaluationConfig(
        data=tuple(map(str, data)),
        preset=preset,
        weights_dir=str(weights_dir) if weights_dir else None,
        split=split,
        count=count or None,
        seed=seed,
        name_genders=name_genders,
    )
    evaluation = PipelineEvaluation(config, out)
    failed = 0
    for outcome in track(evaluation, "faces", len(evaluation)):
        if outcome.error:
            failed += 1
            report(outcome.error)
    evaluation.write()
    print((out / "evaluation.md").read_text(encoding="utf-8"))
    return 1 if failed else 0
