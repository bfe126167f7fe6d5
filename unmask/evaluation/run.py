"""One evaluation from the faces to the files; goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unmask._version import __version__
from unmask.data.record import FaceRecord
from unmask.errors import UnmaskError
from unmask.evaluation.conditions import FaceMeasures, measure
from unmask.evaluation.scenes import choose_records, load_scene
from unmask.evaluation.summary import Summary, summarise
from unmask.evaluation.tables import faces_csv, latex_table, markdown_report
from unmask.inpainting.evaluate import EVALUATION_SEED
from unmask.io import append_line, check_same, read_lines, write_text_atomic
from unmask.paths import check_outputs
from unmask.pipeline import Unmasker
from unmask.synthesis import MaskSynthesizer
from unmask.weights import read_manifest

JOURNAL_FILE = "faces.jsonl"
_RESULTS = ("evaluation.json", "faces.csv", "evaluation.md", "table.tex")


@dataclass(frozen=True)
class EvaluationConfig:
    """What is evaluated, and on what.

    Attributes:
        data: Face folders, or folders of `unmask synthesize`.
        preset: The networks.
        weights_dir: Folder with their manifest; the shipped one when None.
        split: Split of the faces.
        count: At most so many faces, half of each gender; all when None.
        seed: Seed of the choice of faces and of the masks drawn on them.
        name_genders: As for `unmask.evaluation.scenes.choose_records`.
    """

    data: tuple[str, ...]
    preset: str = "lite"
    weights_dir: str | None = None
    split: str = "val"
    count: int | None = 120
    seed: int = EVALUATION_SEED
    name_genders: bool = False


@dataclass(frozen=True)
class FaceOutcome:
    """One face's measures, or why there are none."""

    name: str
    measures: FaceMeasures | None = None
    error: str | None = None


class PipelineEvaluation:
    """Evaluates the pipeline face by face.

    Args:
        config: What and on what.
        out: Folder for the results; an earlier evaluation of the same configuration and weights
            in it is continued.

    Raises:
        DataError: No faces, a result would replace one, or the folder holds another evaluation.
        WeightsError: The preset is unknown or its weights are missing.

    Example:
        >>> config = EvaluationConfig(data=("faces_male", "faces_female"), count=20)
        >>> evaluation = PipelineEvaluation(config, "runs/evaluation")  # doctest: +SKIP
        >>> outcomes = list(evaluation)  # doctest: +SKIP
        >>> evaluation.write().scores["all predicted"]["all"]["psnr_hole"].mean  # doctest: +SKIP
        18.9
    """

    def __init__(self, config: EvaluationConfig, out: str | Path) -> None:
        self.config = config
        self.out = Path(out)
        self.records: list[FaceRecord] = choose_records(
            config.data,
            split=config.split,
            count=config.count,
            seed=config.seed,
            name_genders=config.name_genders,
        )
        results = (self.out / name for name in (JOURNAL_FILE, *_RESULTS))
        check_outputs(results, (record.path for record in self.records))
        self._about = _about(config)
        self._done = self._read()

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.records)

    def __iter__(self) -> Iterator[FaceOutcome]:
        """Evaluate the faces that are not done yet; yield all, the done ones first."""
        yield from (FaceOutcome(name, face) for name, face in self._done.items())
        unmasker = Unmasker(self.config.preset, self.config.weights_dir)
        synthesizer = MaskSynthesizer(self.config.seed)
        journal = self.out / JOURNAL_FILE
        if not self._done:
            journal.unlink(missing_ok=True)
            append_line(journal, {"about": self._about})
        for record in self.records:
            name = str(record.path)
            if name in self._done:
                continue
            try:
                measures = measure(unmasker, load_scene(record, synthesizer))
            except (UnmaskError, OSError) as error:
                yield FaceOutcome(name, error=str(error))
                continue
            append_line(journal, {"path": name, "face": asdict(measures)})
            self._done[name] = measures
            yield FaceOutcome(name, measures)

    def write(self) -> Summary:
        """Write `evaluation.json`, `faces.csv`, `evaluation.md` and `table.tex`.

        Returns:
            The figures.

        Raises:
            DataError: No face was evaluated.
        """
        order = (str(record.path) for record in self.records)
        faces = [self._done[path] for path in order if path in self._done]
        summary = summarise(faces)
        content = {"about": self._about, "count": len(faces), **asdict(summary)}
        names = ", ".join(Path(folder).name for folder in self.config.data)
        weights = ", ".join(f"{k} `{v[:8]}`" for k, v in sorted(self._about["weights"].items()))
        heading = (
            f"Preset `{self.config.preset}` (unmask {__version__}), {len(faces)} faces of the split"
            f" `{self.config.split}` of {names}; seed {self.config.seed}. The weights' SHA-256 sums"
            f" begin with: {weights}."
        )
        texts = (
            json.dumps(content, indent=2) + "\n",
            faces_csv(faces),
            markdown_report(summary, heading),
            latex_table(summary, names),
        )
        for name, text in zip(_RESULTS, texts, strict=True):
            write_text_atomic(self.out / name, text)
        return summary

    def _read(self) -> dict[str, FaceMeasures]:
        """Return what an earlier evaluation in this folder has done."""
        path = self.out / JOURNAL_FILE
        entries = list(read_lines(path))
        if entries:
            about = entries[0].get("about")
            check_same(path, about if isinstance(about, dict) else {}, self._about)
        wanted = {str(record.path) for record in self.records}
        done = {entry["path"]: FaceMeasures(**entry["face"]) for entry in entries[1:]}
        return {path: face for path, face in done.items() if path in wanted}


def _about(config: EvaluationConfig) -> dict[str, Any]:
    files = [f for f in read_manifest(config.weights_dir) if f.preset == config.preset]
    # By way of JSON, so that it compares equal with what a journal gives back.
    return json.loads(
        json.dumps(
            {
                **asdict(config),
                "version": __version__,
                "weights": {file.stage: file.sha256 for file in files},
            }
        )
    )
