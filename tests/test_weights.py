"""Weight files and their manifest: what goes in comes out, and what is wrong is said."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from unmask.errors import WeightsError
from unmask.weights import (
    default_weights_dir,
    file_sha256,
    find,
    load_arrays,
    load_weights,
    read_manifest,
    save_arrays,
    save_weights,
    verify,
)


def network(units: int = 4, name: str = "hidden") -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    x = keras.layers.Dense(units, name=name)(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5, seed=3, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(1, name="out")(x))


def values(model: keras.Model) -> list[np.ndarray]:
    return [np.array(v) for v in model.get_weights()]


# === Networks ===


def test_round_trip(tmp_path: Path):
    source, target = network(), network()
    rng = np.random.default_rng(0)
    source.set_weights(
        [rng.normal(size=w.shape) if w.dtype.kind == "f" else w for w in values(source)]
    )
    path = tmp_path / "weights.safetensors"
    save_weights(source, path, {"stage": "test"})
    assert load_weights(target, path) == {"stage": "test"}
    x = rng.normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(target(x), source(x), rtol=5e-3, atol=5e-3)
    for mine, theirs in zip(values(source), values(target), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_file_is_as_readable_as_any_other(tmp_path: Path):
    path, other = tmp_path / "weights.safetensors", tmp_path / "other"
    other.touch()
    save_arrays(path, {"a": np.zeros(3)})
    assert path.stat().st_mode == other.stat().st_mode


def test_eight_bits_keep_each_output_channel(tmp_path: Path):
    source, target = network(), network()
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.uniform(-4, 4, 4)  # channels that one scale for all would wipe out
    source.get_layer("hidden").kernel.assign(rng.normal(size=(3, 4)) * scales)
    save_weights(source, tmp_path / "half.safetensors")
    save_weights(source, tmp_path / "small.safetensors", {"stage": "test"}, dtype="int8")
    assert load_weights(target, tmp_path / "small.safetensors") == {"stage": "test"}
    wanted, found = (np.array(m.get_layer("hidden").kernel) for m in (source, target))
    steps = np.abs(wanted).max(axis=0) / 127
    assert (np.abs(found - wanted) <= 0.501 * steps).all()
    arrays, _ = load_arrays(tmp_path / "small.safetensors")
    np.testing.assert_array_equal(arrays["hidden/kernel"], found)
    assert set(arrays) == set(load_arrays(tmp_path / "half.safetensors")[0])


@pytest.mark.parametrize("scale", [np.ones((3, 5)), np.ones(4), np.ones((3, 4), np.float64)])
def test_a_scale_that_does_not_fit_is_refused(tmp_path: Path, scale: np.ndarray):
    path = tmp_path / "weights.safetensors"
    kind = np.float64 if scale.shape == (3, 4) else np.float32
    stored = {"kernel": np.ones((3, 4), np.int8), "kernel.scale": scale.astype(kind)}
    save_arrays(path, stored)
    with pytest.raises(WeightsError, match="kernel"):
        load_arrays(path)


def test_stored_as_float16_without_the_dropouts_seed(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    save_weights(network(), path)
    arrays, metadata = load_arrays(path)
    assert set(arrays) == {
        "hidden/kernel", "hidden/bias", "out/kernel", "out/bias",
        "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance",
    }  # fmt: skip
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
    assert metadata == {}


def test_float32_is_exact(tmp_path: Path):
    source, target = network(), network()
    source.layers[1].kernel.assign(np.random.default_rng(0).normal(size=(3, 4)) * 1e6)
    with pytest.raises(WeightsError, match="hidden/kernel has values that float16 cannot hold"):
        save_weights(source, tmp_path / "half.safetensors")
    assert not (tmp_path / "half.safetensors").exists()
    save_weights(source, tmp_path / "full.safetensors", dtype="float32")
    load_weights(target, tmp_path / "full.safetensors")
    np.testing.assert_array_equal(target.layers[1].kernel, source.layers[1].kernel)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"name": "other"}, "missing .*hidden/bias.*not needed .*other/bias"),
        ({"units": 5}, r"tensor .* has shape .*5.*, the network needs .*4"),
    ],
)
def test_another_networks_file_changes_nothing(tmp_path: Path, other: dict, message: str):
    path = tmp_path / "weights.safetensors"
    save_weights(network(**other), path)
    model = network()
    before = values(model)
    with pytest.raises(WeightsError, match=message):
        load_weights(model, path)
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_file_changes_nothing(tmp_path: Path, keep: int):
    path = tmp_path / "weights.safetensors"
    save_weights(network(), path)
    path.write_bytes(path.read_bytes()[:keep])
    model = network()
    before = values(model)
    for load in (load_arrays, lambda p: load_weights(model, p)):
        with pytest.raises(WeightsError, match=r"weights\.safetensors: not a readable"):
            load(path)
    for old, new in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.skipif(os.name != "posix", reason="limits are a matter of POSIX")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path):
    import resource

    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # ends a write as a full disk does
    try:
        with pytest.raises(OSError, match=r"File too large.*weights\.safetensors"):
            save_arrays(path, {"a": np.zeros(10_000, np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_missing_file(tmp_path: Path):
    for load in (load_arrays, lambda p: load_weights(network(), p)):
        with pytest.raises(WeightsError, match="no such file"):
            load(tmp_path / "none.safetensors")


def test_arrays_keep_their_dtypes_and_order(tmp_path: Path):
    arrays = {"a": np.arange(6, dtype=np.int64).reshape(2, 3).T, "b": np.float16([1.5])}
    save_arrays(tmp_path / "x.safetensors", arrays, {"side": "192"})
    loaded, metadata = load_arrays(tmp_path / "x.safetensors")
    assert metadata == {"side": "192"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


# === Manifest ===


ENTRY = {
    "preset": "lite", "stage": "gender", "path": "lite/gender.safetensors",
    "sha256": hashlib.sha256(b"weights").hexdigest(), "size": 7,
    "licence": "free", "card": "lite/gender.md",
}  # fmt: skip


def write_manifest(folder: Path, **changes: object) -> Path:
    (folder / "lite").mkdir(exist_ok=True)
    (folder / "lite" / "gender.safetensors").write_bytes(b"weights")
    rows = {k: v for k, v in {**ENTRY, **changes}.items() if v is not None}
    lines = [f"{k} = {json.dumps(v)}" for k, v in rows.items()]
    (folder / "manifest.toml").write_text("[[file]]\n" + "\n".join(lines) + "\n")
    return folder


def test_reads_and_finds(tmp_path: Path):
    entry = find("lite", "gender", write_manifest(tmp_path))
    assert entry.path == tmp_path / "lite" / "gender.safetensors"
    assert entry.card == tmp_path / "lite" / "gender.md"
    assert (entry.size, entry.licence) == (7, "free")
    assert file_sha256(entry.path) == entry.sha256
    assert read_manifest(tmp_path) == [entry]


def test_unknown_stage_says_what_there_is(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"paper/gender.*it has: lite/gender.*weights_dir"):
        find("paper", "gender", write_manifest(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"sha256": "0" * 64}, "SHA-256"), ({"size": 8}, "7 bytes, the manifest says 8")],
)
def test_altered_file(tmp_path: Path, changes: dict, message: str):
    folder = write_manifest(tmp_path, **changes)
    with pytest.raises(WeightsError, match=message):
        find("lite", "gender", folder)
    with pytest.raises(WeightsError, match=message):
        verify(read_manifest(folder)[0])


def test_file_that_the_manifest_names_is_missing(tmp_path: Path):
    folder = write_manifest(tmp_path, path="lite/none.safetensors")
    assert len(read_manifest(folder)) == 1  # listing is possible
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file"):
        find("lite", "gender", folder)


@pytest.mark.parametrize("field", ["path", "card"])
@pytest.mark.parametrize("place", ["../outside", "/etc/passwd", "lite/../../outside", "a\0"])
def test_entry_must_stay_in_the_folder(tmp_path: Path, field: str, place: str):
    with pytest.raises(WeightsError, match=rf"file\[0\]\.{field}: must be a path inside"):
        read_manifest(write_manifest(tmp_path, **{field: place}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "7"}, r"file\[0\]\.size: must be a int.*'7'"),
        ({"sha256": None}, r"file\[0\]\.sha256: must be a str.*None"),
    ],
)
def test_fields_are_checked(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(WeightsError, match=message):
        read_manifest(write_manifest(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"[[file", b"\xff\xfe", b"a = ", b"a = " + b"[" * 99_999])
def test_not_toml(tmp_path: Path, content: bytes):
    (tmp_path / "manifest.toml").write_bytes(content)
    with pytest.raises(WeightsError, match=r"manifest\.toml: not a TOML file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["file = 3", "file = [1]", "[file]\nx = 1"])
def test_toml_of_another_form(tmp_path: Path, content: str):
    (tmp_path / "manifest.toml").write_text(content)
    with pytest.raises(WeightsError, match=r"manifest\.toml: file"):
        read_manifest(tmp_path)


def test_no_manifest(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"manifest\.toml: no such file"):
        read_manifest(tmp_path)


# === What ships ===


def test_shipped_files_are_the_manifests():
    entries = read_manifest()
    assert entries
    for entry in entries:
        verify(entry)
        assert entry.card.is_file()
    folder = default_weights_dir()
    on_disk = {p.relative_to(folder) for p in folder.glob("*/*") if p.suffix != ".md"}
    assert {entry.path.relative_to(folder) for entry in entries} == on_disk
    assert sum(entry.size for entry in entries if entry.preset == "lite") < 60e6
