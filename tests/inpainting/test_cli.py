"""`unmask evaluate inpainting`, as it is typed."""

from unmask.cli import main


def test_a_broken_feature_file_is_one_line(tmp_path, capsys):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 cut off")
    where = ["--data", str(tmp_path), "--out", str(tmp_path)]
    assert main(["evaluate", "inpainting", *where, "--features", str(broken)]) == 2
    error = capsys.readouterr().err
    assert f"unmask: {broken}" in error
    assert error.count("\n") == 1
