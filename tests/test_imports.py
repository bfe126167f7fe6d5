"""Which way imports point: stages do not meet, and what completes a photo knows no training."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
STAGES = ("gender", "inpainting", "landmarks", "parsing", "segmentation")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in (ROOT / "unmask").rglob("*.py")}


def imported(name: str) -> set[str]:
    """Return the package's modules that one imports, also inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found & set(MODULES)


IMPORTS = {name: imported(name) for name in MODULES}


def wrong(importers: Iterator[str], forbidden: tuple[str, ...]) -> set[tuple[str, str]]:
    pairs = {(name, other) for name in importers for other in IMPORTS[name]}
    return {pair for pair in pairs if inside(pair[1], *forbidden)}


def inside(name: str, *packages: str) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in (f"unmask.{p}" for p in packages))


def reached(start: str) -> Iterator[str]:
    """Yield what running a module can import."""
    seen, ahead = set(), [start]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            yield name
            ahead += IMPORTS[name]


def test_no_stage_imports_another():
    for stage in STAGES:
        others = tuple(other for other in STAGES if other != stage)
        assert wrong((name for name in MODULES if inside(name, stage)), others) == set()


def test_completing_a_photo_needs_no_training():
    modules = list(reached("unmask.pipeline"))
    predicting = {f"unmask.{stage}.predict" for stage in ("gender", "inpainting", "landmarks")}
    assert predicting | {"unmask.segmentation.finder"} <= set(modules)
    assert wrong(iter(modules), ("parsing",)) == set()  # only the generator's training asks it
    assert wrong(iter(modules), ("training", "cli", "evaluation")) == set()


def test_nothing_below_the_stages_imports_them():
    low = ("data", "labelme", "face", "image", "io", "landmark_layout", "metrics", "weights")
    assert wrong((name for name in MODULES if inside(name, *low)), (*STAGES, "training")) == set()


def test_only_the_command_line_imports_itself():
    others = (name for name in MODULES if not inside(name, "cli") and name != "unmask.__main__")
    assert wrong(others, ("cli",)) == set()
