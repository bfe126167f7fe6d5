"""Where a training keeps its checkpoints, and how the last one is found again.

As matterport's programs do: a folder a run, `NAME20240131T1530`, and in it a file an epoch,
`mask_rcnn_NAME_0007.h5`, with the name in lower case.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path

_TIME = "%Y%m%dT%H%M"
_RUN = re.compile(r"(.+)(\d{8}T\d{4})")
_FILE = re.compile(r"mask_rcnn_(.+)_(\d{4,})\.h5")

# Name, time of the run, epoch.
Checkpoint = tuple[str, datetime.datetime, int]


def read_checkpoint_path(path: str | os.PathLike[str]) -> Checkpoint | None:
    """Return whose checkpoint a path is, of which run and epoch; None for any other file."""
    path = Path(path).absolute()
    run, file = _RUN.fullmatch(path.parent.name), _FILE.fullmatch(path.name)
    if not run or not file:
        return None
    try:
        time = datetime.datetime.strptime(run[2], _TIME)
    except ValueError:  # digits that are no date
        return None
    return file[1], time, int(file[2])


def run_folder(model_dir: str | os.PathLike[str], name: str, time: datetime.datetime) -> Path:
    """Return the folder of a run."""
    return Path(model_dir) / f"{name}{time:{_TIME}}"


def checkpoint_pattern(folder: Path, name: str) -> str:
    """Return the path of a run's checkpoints, to be completed by `format(epoch=...)`."""
    path = str(folder / f"mask_rcnn_{name}_")
    return path.replace("{", "{{").replace("}", "}}") + "{epoch:04d}.h5"


def last_checkpoint(model_dir: str | os.PathLike[str], name: str) -> Path:
    """Return the checkpoint with the highest epoch of the newest run that has any.

    Raises:
        FileNotFoundError: There is none.
    """
    found = max(_checkpoints(Path(model_dir), name), default=None)
    if found is None:
        raise FileNotFoundError(
            f"no checkpoint of {name!r} under {model_dir}: no "
            f"{name}YYYYMMDDTHHMM/mask_rcnn_{name}_NNNN.h5"
        )
    return found[-1]


def _checkpoints(model_dir: Path, name: str) -> Iterator[tuple[datetime.datetime, int, Path]]:
    runs = model_dir.iterdir() if model_dir.is_dir() else ()
    for run in runs:
        # Names are compared whole: one configuration's may begin with another's.
        match = _RUN.fullmatch(run.name)
        if not match or match[1] != name or not run.is_dir():
            continue
        for file in run.iterdir():
            checkpoint = read_checkpoint_path(file)
            if checkpoint is not None and checkpoint[0] == name and file.is_file():
                yield checkpoint[1], checkpoint[2], file
