"""The program as a whole: what it loads, what it prints, how it ends."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

import unmask
from unmask.cli import main
from unmask.errors import UnmaskError, WeightsError

HEAVY = (
    "tensorflow", "jax", "torch", "keras", "keras_tuner", "cv2", "skimage", "scipy", "pandas",
    "matplotlib", "PIL", "numpy",
)  # fmt: skip
COMMANDS = (
    "run", "demo", "train", "evaluate", "synthesize", "label", "labelme", "weights", "info",
)  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after running `code`."""
    script = f"import sys, json\n{code}\nprint(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_loads_nothing_heavy():
    loaded = loaded_after("import unmask; unmask.__version__; dir(unmask)")
    assert "unmask" in loaded
    assert not loaded & set(HEAVY)


def test_help_loads_nothing_heavy():
    code = (
        "from unmask.cli import main\n"
        "for args in (['--help'], ['run', '--help'], ['train', 'gender', '--help']):\n"
        "    try: main(args)\n"
        "    except SystemExit: pass\n"
    )
    assert not loaded_after(code) & set(HEAVY)


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "unmask", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"unmask {unmask.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command: str):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"usage: unmask {command}" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["gender", "landmarks", "segmentation", "inpainting"])
def test_every_trainer_explains_itself(capsys, stage: str):
    with pytest.raises(SystemExit) as exit_:
        main(["train", stage, "--help"])
    assert exit_.value.code == 0
    assert "--minutes" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["weights"], ["weights", "eat"], ["--fly"]])
def test_wrong_usage_is_status_2(capsys, arguments: list[str]):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: unmask" in capsys.readouterr().err


def test_expected_errors_are_one_line_and_status_2(capsys, tmp_path):
    assert main(["weights", "list", "--dir", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"unmask: {tmp_path / 'manifest.toml'}: no such file\n"


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


def test_own_errors_are_also_value_errors():
    assert issubclass(WeightsError, UnmaskError)
    assert issubclass(WeightsError, ValueError)


# === weights ===


def test_weights_list_and_verify(capsys):
    assert main(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert "lite/gender" in listed
    assert main(["weights", "verify"]) == 0
    verified = capsys.readouterr().out
    assert verified.count(" ok\n") == listed.count("lite/")


def test_weights_verify_names_the_altered_file_and_checks_the_others(capsys, tmp_path):
    expected, entries = hashlib.sha256(b"weights").hexdigest(), []
    for stage, content in (("a", b"altered"), ("b", b"weights")):
        (tmp_path / f"{stage}.bin").write_bytes(content)
        entries.append(
            f'[[file]]\npreset = "lite"\nstage = "{stage}"\npath = "{stage}.bin"\n'
            f'sha256 = "{expected}"\nsize = 7\nlicence = "free"\ncard = "a.md"\n'
        )
    (tmp_path / "manifest.toml").write_text("\n".join(entries))
    assert main(["weights", "verify", "--dir", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "a.bin: SHA-256" in captured.err
    assert captured.out.split() == ["lite/b", "ok"]


def test_weights_path(capsys, tmp_path):
    assert main(["weights", "path"]) == 0
    folder = capsys.readouterr().out.strip()
    assert folder.endswith("weights")
    assert main(["weights", "path", "--dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path)


# === info ===


def test_info(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert lines["unmask"].endswith(unmask.__version__)
    assert "backend" in lines
    assert lines["gender"].split()[-1] in ("present", "weights")
    assert "preset lite" in out
    assert "preset paper" in out
