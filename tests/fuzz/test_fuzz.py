"""Damaged files are read, or refused with an error of ours; `make fuzz` tries more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.drive import Outcome, Trial, can_open, fuzz
from tests.fuzz.kinds import KINDS, Kind

INPUTS = 60


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_damaged_files_are_read_or_refused(kind: Kind, tmp_path: Path) -> None:
    if not can_open(kind):
        pytest.skip(f"{kind.name} files need {', '.join(kind.needs)}")
    if kind.name == "HDF5":  # whose library can hang or crash
        found = fuzz(kind, INPUTS)
    else:
        found, trial = Outcome(), Trial(kind, tmp_path)
        trial.open_good()
        for number in range(INPUTS):
            found.add(number, trial(number))
    assert found.failures == []
    assert found.inputs == INPUTS
    assert found.refused
