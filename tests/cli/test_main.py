"""The program as a whole: what it loads, what it prints, how it ends."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unmask
from unmask.cli import build_app, main
from unmask.errors import MissingPackageError, SettingError, UnmaskError, WeightsError

HEAVY = (
    "tensorflow", "jax", "torch", "keras", "keras_tuner", "cv2", "skimage", "scipy", "pandas",
    "matplotlib", "PIL", "numpy",
)  # fmt: skip
COMMANDS = (
    "run", "demo", "train", "compare", "evaluate pipeline", "evaluate segmentation",
    "evaluate landmarks",
    "evaluate gender", "evaluate inpainting", "tune gender", "synthesize", "label", "labelme",
    "weights", "info",
)  # fmt: skip
# What is refused before anything is loaded. `.` is a folder, `file` a file, and `gone` nothing.
REFUSED = (
    "", "fly", "--fly", "evaluate", "evaluate fly", "weights", "weights eat", "run",
    "run a.jpg --fly", "run a.jpg --workers 0", "run a.jpg --workers 1.5", "run a.jpg --seed -1",
    "run a.jpg --seed x", "run a.jpg --seed 4294967296", "run a.jpg --gender other",
    "run a.jpg --finder gone", "run a.jpg --finder .", "run a.jpg --weights-dir gone",
    "demo --seed -1", "weights list --dir gone", "weights add",
    "weights add gone --as paper/gender",
    "synthesize gone out", "synthesize . out --bank 0", "synthesize . out --size -5",
    "synthesize . out --val-share 1.1", "synthesize . out --val-share nan",
    "synthesize . out --layout disc", "synthesize . file", "synthesize . file/below",
    "labelme gone out", "labelme . out --labels", "labelme . file", "labelme . out --coco .",
    "labelme . out --line-width nan", "labelme . out --line-width -1",
    "labelme . out --line-width inf",
    "label gone out --weights file --backbone imagenet",
    "label . out --weights gone --backbone imagenet",
    "label . out --weights file --backbone gone",
    "tune gender gone", "tune gender . --trials 0", "tune gender . --executions -1",
    "tune gender . --precision float31",
    "evaluate pipeline --data gone --out o", "evaluate pipeline --data . --out o --count -1",
    "evaluate pipeline --data . gone --out o", "evaluate pipeline --data --out o",
    "compare", "compare .", "compare gone --out o", "compare . --out o --systems fly",
    "compare . --out o --weights gone", "compare . --out o --count 0",
    "evaluate segmentation --data . --weights gone --out o",
    "evaluate landmarks", "evaluate landmarks --data gone", "evaluate landmarks --data . --count 0",
    "evaluate landmarks --data . --passes -1", "evaluate gender --data . --masks -1 --out o",
    "evaluate inpainting --data . --out o --features gone.npz",
    "evaluate inpainting --data . --out file",
    "train x --data gone --out o", "train x --data . --out o --init gone",
    "train x --data . --out o --minutes -1", "train x --data . --out o --minutes 0",
    "train x --data . --out o --minutes nan", "train x --data . --out o --minutes inf",
    "train x --data . --out o --steps 0", "train x --data . --out o --steps 3 --minutes 3",
    "train", "train x --data .", "train x --data . --out o", "train x --data . --out o --set a",
)  # fmt: skip


SCRIPT = """
import contextlib, io, json, sys

def answer(words):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.redirect_stderr(io.StringIO()) as err:
            status = main(words.split())
    return status, out.getvalue(), err.getvalue()

import unmask
unmask.__version__, dir(unmask)
from unmask.cli import main
answers = {words: answer(words) for words in json.load(sys.stdin)}
loaded = sorted(sys.modules)
answers["info"] = answer("info")
json.dump([answers, loaded, sorted(sys.modules)], sys.stdout)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    (folder / "file").touch()
    return folder


@pytest.fixture(scope="module")
def asked(folder) -> tuple[dict[str, tuple[int, str, str]], set[str], set[str]]:
    """What a fresh interpreter answers to commands, and its modules before and after `info`."""
    words = [*(f"{command} --help" for command in COMMANDS), "--help", "--version", *REFUSED]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(words), cwd=folder,
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    answers, *loaded = json.loads(done.stdout)
    before, after = ({name.split(".")[0] for name in names} for names in loaded)
    return answers, before, after


def test_import_help_and_refusals_load_nothing_heavy(asked):
    answers, loaded, _ = asked
    assert "unmask" in loaded
    assert not loaded & set(HEAVY)
    assert answers["--version"] == [0, f"unmask {unmask.__version__}\n", ""]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(asked, command: str):
    status, out, _ = asked[0][f"{command} --help"]
    assert status == 0
    assert f"Usage: unmask {command}" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_is_explained(command: str):
    app = build_app()
    for name in command.split():
        app = app[name]
    for argument in app.assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help, argument.name


@pytest.mark.parametrize("words", REFUSED)
def test_what_makes_no_sense_is_one_line_and_status_2(asked, folder, words: str):
    status, out, err = asked[0][words]
    assert (status, out) == (2, "")
    assert err.startswith("unmask: ")
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "unmask.bash"
    assert main(["--install-completion", "--shell", "bash", "--output", str(script)]) == 0
    words = "unmask evaluate inpainting --network pap"
    bash = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD=4; COMP_LINE='{words}';"
        "COMP_POINT=${#COMP_LINE}; _unmask unmask pap --network; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", bash], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["paper", "paper-aot"]


def test_expected_errors_are_one_line_and_status_2(capsys, tmp_path):
    assert main(["weights", "list", "--dir", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"unmask: {tmp_path / 'manifest.toml'}: no such file\n"


def test_errors_of_the_system_are_one_line_and_status_2(capsys, monkeypatch):
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "manifest.toml")

    monkeypatch.setattr("unmask.weights.read_manifest", denied)
    assert main(["weights", "list"]) == 2
    assert capsys.readouterr().err == "unmask: manifest.toml: Permission denied\n"


def test_a_reader_that_has_left_is_no_error():
    command = [sys.executable, "-m", "unmask", "weights", "path"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_ctrl_c_is_status_130(capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.weights.read_manifest", interrupted)
    assert main(["weights", "list"]) == 130
    assert capsys.readouterr().err == "unmask: interrupted\n"


def test_bugs_are_not_hidden(monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("unmask.weights.read_manifest", broken)
    with pytest.raises(ZeroDivisionError):
        main(["weights", "list"])


@pytest.mark.parametrize(
    ("error", "base"),
    [(WeightsError, ValueError), (SettingError, ValueError), (MissingPackageError, ImportError)],
)
def test_own_errors_are_also_those_of_python(error: type, base: type):
    assert issubclass(error, UnmaskError)
    assert issubclass(error, base)


# === weights ===


def test_weights_list_and_verify(capsys):
    assert main(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert "lite/gender" in listed
    assert main(["weights", "verify"]) == 0
    verified = capsys.readouterr().out
    assert verified.count(" ok\n") == listed.count(" MB  ")


def write_manifest_of(folder, *paths):
    """Let all files, of stages named by their first letters, hold the same seven bytes."""
    digest = hashlib.sha256(b"weights").hexdigest()
    entries = [
        f'[[file]]\npreset = "lite"\nstage = "{path[0]}"\npath = "{path}"\n'
        f'sha256 = "{digest}"\nsize = 7\nlicence = "free"\ncard = "a.md"\n'
        for path in paths
    ]
    (folder / "manifest.toml").write_text("\n".join(entries))


def test_weights_verify_names_the_altered_file_and_checks_the_others(capsys, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"altered")
    (tmp_path / "b.bin").write_bytes(b"weights")
    write_manifest_of(tmp_path, "a.bin", "b.bin")
    assert main(["weights", "verify", "--dir", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "a.bin: SHA-256" in captured.err
    assert captured.out.split() == ["lite/b", "ok"]


def test_weights_verify_passes_over_what_a_wheel_without_keras_lacks(capsys, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"weights")
    write_manifest_of(tmp_path, "a.onnx", "a.safetensors", "b.safetensors")
    assert main(["weights", "verify", "--dir", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "b.safetensors" in captured.err
    assert "a.safetensors" not in captured.err
    assert captured.out.splitlines()[-1].split() == ["lite/a", "not", "here"]


def test_a_missing_package_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "unmask: the demo needs matplotlib: pip install matplotlib\n"


def test_weights_path(capsys, tmp_path):
    assert main(["weights", "path"]) == 0
    folder = capsys.readouterr().out.strip()
    assert folder.endswith("weights")
    assert main(["weights", "path", "--dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path)


# === info ===


def test_info(asked):
    answers, _, loaded = asked
    assert "tensorflow" not in loaded
    status, out, _ = answers["info"]
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert lines["unmask"].endswith(unmask.__version__)
    assert "backend" in lines
    assert lines["gender"].split()[-1] in ("present", "weights")
    assert "preset lite" in out
    assert "preset paper" in out
