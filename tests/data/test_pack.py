"""Packed faces are the faces that were packed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.toys import draw_faces
from unmask.data.faces import gather_faces
from unmask.data.pack import pack_faces, read_pack
from unmask.data.record import load_canonical
from unmask.errors import DataError

FOLDERS = {"ones": 1.0, "twos": 2.5}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    draw_faces(folder / "ones", 3)
    draw_faces(folder / "twos", 6)
    return folder


def test_same_faces_in_parts(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unmask.data.pack.PART_BYTES", 60_000)
    parts = pack_faces(gather_faces([data], FOLDERS).records, tmp_path)
    assert len(parts) > 1
    assert all(part.stat().st_size < 60_000 for part in parts)
    ours = gather_faces([tmp_path], FOLDERS)
    theirs = gather_faces([data], FOLDERS)
    assert len(ours) == len(theirs) == 9
    np.testing.assert_array_equal(ours.weights, theirs.weights)
    turn = np.array([[0.9, 0.1, 8], [-0.1, 0.9, 5]])
    for packed, plain in zip(ours.records, theirs.records, strict=True):
        assert (packed.gender, packed.split) == (plain.gender, plain.split)
        a, b = load_canonical(packed), load_canonical(plain)
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-3)
        assert np.abs(a.image.astype(int) - b.image).mean() < 6  # WebP's losses
        assert (a.valid != b.valid).mean() < 0.02
        moved = load_canonical(packed, matrix=turn)
        assert not moved.valid.all()  # what is beyond the crop is not known


def test_splits(data: Path, tmp_path: Path):
    (part,) = pack_faces(gather_faces([data], FOLDERS).records, tmp_path)
    assert {name: len(r) for name, r in read_pack(part, split="val").items()} == {
        "ones": 1, "twos": 2,
    }  # fmt: skip


def test_gathering_names_what_is_missing(data: Path, tmp_path: Path):
    with pytest.raises(DataError, match="neither a face folder nor a folder with ones, twos"):
        gather_faces([tmp_path], FOLDERS)
    with pytest.raises(DataError, match="no faces of the split 'test'"):
        gather_faces([data], FOLDERS, split="test")
    # A folder that is named itself counts, whatever the recipe calls it.
    assert gather_faces([data / "ones"], {"twos": 2.5}).weights.tolist() == [1.0] * 3


def test_damaged_files_are_an_error(data: Path, tmp_path: Path):
    (part,) = pack_faces(gather_faces([data], FOLDERS).records, tmp_path)
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"faces-000.zip: not a file of packed faces"):
        read_pack(part)


def test_what_is_packed_is_not_packed_again(data: Path, tmp_path: Path):
    parts = pack_faces(gather_faces([data], FOLDERS).records, tmp_path)
    before = [part.read_bytes() for part in parts]
    with pytest.raises(DataError, match=r"faces-000\.zip: is packed already"):
        pack_faces(gather_faces([tmp_path], FOLDERS).records, tmp_path)
    assert [part.read_bytes() for part in parts] == before
