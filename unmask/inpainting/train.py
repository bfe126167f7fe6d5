"""Adversarial training of the inpainting networks."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from unmask.data.faces import FaceRecord, read_face_folder
from unmask.errors import DataError
from unmask.gender.files import load_gender
from unmask.gender.naming import name_genders
from unmask.image import save_image
from unmask.inpainting.coarse import load_first_guess
from unmask.inpainting.data import InpaintingData
from unmask.inpainting.detail import DetailTrainer
from unmask.inpainting.history import Board, History
from unmask.inpainting.prior import FirstGuess
from unmask.inpainting.sheets import SampleSheet
from unmask.inpainting.trainer import TrainConfig, Trainer
from unmask.io import write_text_atomic
from unmask.training.callbacks import cosine_rate
from unmask.weights import save_weights

_LOG = logging.getLogger(__name__)


def load_records(
    folders: Sequence[Path],
    split: str,
    gender: str | None = None,
    gender_weights: Path | None = None,
) -> list[FaceRecord]:
    """Read the faces of one split, of one gender where asked for.

    Args:
        folders: Face folders; one that is named twice counts twice.
        split: "train", "val" or "test".
        gender: "male" or "female"; faces of unknown gender are left out then.
        gender_weights: File of a gender network that names the faces of unknown gender first.

    Raises:
        DataError: None is left.
        WeightsError: `gender_weights` is missing or does not fit.
    """
    records = [r for folder in folders for r in read_face_folder(folder, split=split)]
    if gender_weights is not None:
        records = name_genders(records, load_gender(gender_weights))
    kept = [r for r in records if gender is None or r.gender == gender]
    if not kept:
        raise DataError(
            f"no {gender or ''} faces in the {split} split of {list(map(str, folders))}"
        )
    return kept


def train(config: TrainConfig, report: Callable[[str], None] = _LOG.info) -> Path:
    """Train until the budget is used up, resuming from `out/checkpoint.safetensors` if present.

    A process that is killed loses the steps since its last checkpoint; the next call repeats
    them. The folder `out` then holds `generator.safetensors` (the averaged weights),
    `discriminator.safetensors`, `history.jsonl`, `config.json` and `samples/`.

    Args:
        config: The settings.
        report: Called with each row of the history, as JSON.

    Returns:
        The generator's averaged weights, `out/generator.safetensors`.

    Raises:
        DataError: No face is left to train on.
        WeightsError: A weight file, or the checkpoint in `out`, does not fit the settings.
    """
    prior = load_first_guess(config.prior, config.coarse).for_gender(config.gender)
    records = load_records(config.folders, "train", config.gender, config.gender_weights)
    data = InpaintingData(records, prior, seed=config.seed, variety=config.variety)
    trainer = (DetailTrainer if config.networks.detail else Trainer)(config)
    if _checkpoint(config).is_file():
        trainer.restore(_checkpoint(config))
    run = _Run(config, trainer, report, _sheet(config, records, prior))
    for batch in data.batches(config.batch_size, side=config.side, first=trainer.step):
        # The rate falls over the whole budget, what earlier calls have used of it included.
        share = _used(config, trainer)
        if share >= 1.0:
            break
        run.took(trainer.train_step(batch.arrays(), cosine_rate(share, 1.0, 0.05)))
    run.write()
    return config.out / "generator.safetensors"


class _Run:
    """What happens beside the steps of one call: clock, history, checkpoints, sample sheets."""

    def __init__(
        self,
        config: TrainConfig,
        trainer: Trainer,
        report: Callable[[str], None],
        sheet: SampleSheet | None,
    ) -> None:
        self._config, self._trainer, self._report, self._sheet = config, trainer, report, sheet
        self._history = History(
            config.out / "history.jsonl",
            every=config.history_steps,
            step=trainer.step,
            recent=trainer.recent,
        )
        self._board = Board(config.out / "tensorboard") if config.tensorboard else None
        self._before = trainer.seconds
        self._began = self._last_save = self._last_sheet = time.monotonic()

    def took(self, terms: dict[str, float]) -> None:
        """Take note of a step."""
        now = time.monotonic()
        self._trainer.seconds = self._before + now - self._began
        row = self._history.add(self._trainer.step, self._trainer.seconds, terms)
        if row is not None:
            self._report(json.dumps(row))
            if self._board is not None:
                self._board.add_row(row)
        minutes = self._config.sheet_minutes
        if minutes is not None and now - self._last_sheet >= 60 * minutes:
            self._draw()
            self._last_sheet = now
        if now - self._last_save >= 60 * self._config.checkpoint_minutes:
            self.write()
            self._last_save = now

    def write(self) -> None:
        """Write everything; the checkpoint last, because resuming relies on the others."""
        config, trainer = self._config, self._trainer
        noted = {
            "network": config.networks.name,
            "steps": str(trainer.step),
            "seconds": f"{trainer.seconds:.0f}",
        }
        save_weights(trainer.averaged_generator(), config.out / "generator.safetensors", noted)
        save_weights(trainer.discriminator, config.out / "discriminator.safetensors", noted)
        write_text_atomic(config.out / "config.json", json.dumps(_settings(config), indent=2))
        self._history.write()
        trainer.recent = self._history.recent
        trainer.save(_checkpoint(config))

    def _draw(self) -> None:
        if self._sheet is None:
            return
        picture = self._sheet.draw(self._trainer.averaged_generator())
        step = self._trainer.step
        save_image(self._config.out / "samples" / f"step-{step:07d}.png", picture)
        if self._board is not None:
            self._board.add_sheet(picture, step)


def _checkpoint(config: TrainConfig) -> Path:
    return config.out / "checkpoint.safetensors"


def _used(config: TrainConfig, trainer: Trainer) -> float:
    """Return the share of the budget that is used up."""
    if config.steps is not None:
        return trainer.step / config.steps
    return trainer.seconds / (60 * config.minutes)


def _sheet(
    config: TrainConfig, records: Sequence[FaceRecord], prior: FirstGuess
) -> SampleSheet | None:
    """Faces of the validation split where there are some, from all over the folders."""
    if config.sheet_minutes is None:
        return None
    try:
        held_out = load_records(config.folders, "val", config.gender, config.gender_weights)
    except DataError:
        held_out = list(records)
    spread = held_out[:: max(len(held_out) // 6, 1)]
    return SampleSheet(spread, prior, side=config.side)


def _settings(config: TrainConfig) -> dict[str, str]:
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {
        name: str(value) for name, value in {**values, "networks": config.networks.name}.items()
    }
