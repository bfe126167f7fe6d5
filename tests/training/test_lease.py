"""A lease trains a plan within its time, with JAX alone, and leaves what can be carried home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.toys import draw_faces, inpainting
from unmask.data.faces import read_face_folder
from unmask.data.pack import pack_faces
from unmask.errors import DataError
from unmask.training.lease import Entry, copy_results, read_plan
from unmask.weights import load_arrays

PLAN = """
data = ["{pack}"]
[[train]]
name = "both"
recipe = "paper/inpainting"
set = [{set}]
[[train]]
name = "male"
recipe = "paper/inpainting"
init = "both"
share = 2.0
set = ["gender='male'", "name_genders=false", {set}]
"""

# TensorFlow is not on such a machine.
LEASE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorboard", "sklearn", "matplotlib", "cyclopts"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from unmask.training.lease import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_a_plan_is_checked(tmp_path: Path):
    path = tmp_path / "plan.toml"
    path.write_text('data = ["a.zip"]\n[[train]]\nname = "x"\nrecipe = "r"\nshares = 2\n')
    with pytest.raises(DataError, match=r"plan.toml: train\[0\]: unknown key 'shares'"):
        read_plan(path)
    path.write_text('data = ["a.zip"]\n[[train]]\nname = "x"\nrecipe = "r"\nshare = 2\n')
    plan = read_plan(path)
    assert plan.data == (Path("a.zip"),)
    assert plan.train == (Entry(name="x", recipe="r", share=2.0),)


def test_results_come_in_parts_and_only_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("unmask.training.lease.PART_BYTES", 10)
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    (run / "inpainting.safetensors").write_bytes(bytes(range(25)))
    (run / "checkpoint.safetensors").write_bytes(b"large")
    copy_results(run, out, "x")
    parts = sorted(out.iterdir())
    assert [p.name for p in parts] == [f"x.safetensors.{n:03d}" for n in range(3)]
    assert b"".join(p.read_bytes() for p in parts) == bytes(range(25))
    parts[1].write_bytes(b"marked")
    copy_results(run, out, "x")
    assert parts[1].read_bytes() == b"marked"


def test_a_lease_with_jax_alone(tmp_path: Path):
    pytest.importorskip("jax")
    toy = inpainting(tmp_path / "toy")
    (pack,) = pack_faces(
        read_face_folder(draw_faces(tmp_path / "faces_wide2")), tmp_path / "packed"
    )
    values = {**toy.overrides, "history_steps": 1, "sheet_rows": 1}
    # JSON's strings and numbers are TOML's too.
    settings = ", ".join(json.dumps(f"{key}={json.dumps(value)}") for key, value in values.items())
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.format(pack=pack, set=settings))
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LEASE, str(plan), "--minutes", "0.1", "--out", str(tmp_path / "out"),
         "--workers", "0"],
        capture_output=True, text=True, check=False, timeout=400,
        cwd=Path(__file__).parent.parent.parent, env={**os.environ, "KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert time.monotonic() - start < 300
    names = {path.name for path in (tmp_path / "out").iterdir()}
    for entry in ("both", "male"):
        assert {f"{entry}.safetensors.000", f"{entry}.csv", f"{entry}.png"} <= names
    arrays = [load_arrays(tmp_path / f"out/{n}.safetensors.000")[0] for n in ("both", "male")]
    # The second went on from the first, and both are stored small.
    assert arrays[0].keys() == arrays[1].keys()
    assert {str(a.dtype) for a in arrays[0].values()} == {"float16"}
