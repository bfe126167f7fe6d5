"""Tables of an evaluation: the paper's layout in Markdown and LaTeX, and one row a face in CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unmask.evaluation.conditions import BASELINES, CONDITIONS, MEASURES, FaceMeasures
from unmask.evaluation.summary import Estimate, Summary
from unmask.tables import csv_text, markdown_table

CITATION = "Modak et al., A Deep Learning Framework to Reconstruct Face under Mask, 2022, section F"

QUOTES = (
    ("FFHQ", "PSNR", "28.82", "30.00"),
    ("FFHQ", "SSIM", "0.93", "0.95"),
    ("CelebA", "PSNR", "31.40", "33.32"),
    ("CelebA", "SSIM", "0.97", "0.98"),
)
"""The paper's table as printed, never computed here: data, metric (PSNR in dB or SSIM, whose
protocol it does not state), and the figures of the models for male and for female faces."""

_TITLES = {
    "psnr_hole": "PSNR, hole only",
    "psnr_lafin": "PSNR, LaFIn",
    "ssim_lafin": "SSIM, LaFIn",
    "psnr_rgb": "PSNR, RGB",
    "ssim_rgb": "SSIM, RGB",
    "psnr_photo": "PSNR, as is",
}
_IN_PAPER_TABLE = ("psnr_lafin", "ssim_lafin", "psnr_rgb", "ssim_rgb", "psnr_hole")
_IN_LOSS_TABLE = ("psnr_hole", "ssim_lafin", "psnr_photo")
_SYSTEMS = ("all predicted", "all true", "Telea, true mask", "masked photo")


def markdown_report(summary: Summary, heading: str) -> str:
    """Return all tables as Markdown, with what is needed to read them; `heading` says of what."""
    parts = [
        "# The whole pipeline, stage by stage",
        heading,
        "Means over faces with 95 % bootstrap intervals. `all predicted` is the pipeline told"
        " nothing; `true X` tells it X. Scored on the canonical 256 x 256 crop; the hole is the"
        " true mask grown by 4 pixels. Protocols as in `unmask.metrics`; `as is` puts no known"
        " pixels back.",
        "## The paper's table, and ours",
        paper_table(summary),
        "## Every condition",
        markdown_table(("inputs", "faces", "n", *_TITLES.values()), _condition_rows(summary)),
        "## The loss that each stage causes",
        loss_table(summary),
        "## The stages",
        stage_table(summary),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def paper_table(summary: Summary) -> str:
    """Return the paper's table with its figures quoted and ours beside them, as Markdown."""
    header = ("data", "system", "metric", "male", "female")
    return (
        "Quoted rows are printed in the paper, which states no protocol, no split by identity and"
        " no number of test images: they do not compare with the measured rows.\n\n"
        f"{markdown_table(header, _paper_rows(summary))}\nQuoted: {CITATION}."
    )


def loss_table(summary: Summary) -> str:
    """Return what each stage's prediction costs, as Markdown."""
    return (
        "`replaced`: what the truth instead of this stage's prediction gains while the others are"
        " predicted. `alone`: what this stage's prediction costs while the others are true.\n\n"
        + markdown_table(("stage", "measure", "replaced", "alone"), _loss_rows(summary))
    )


def stage_table(summary: Summary) -> str:
    """Return how well the stages predict inside the pipeline, as Markdown."""
    header = ("faces", "n", "found", "gender right", "landmark NME", "hole IoU")
    return (
        "Shares and means; gender, landmarks and hole over the faces that were found.\n\n"
        + markdown_table(header, _stage_rows(summary))
    )


def latex_table(summary: Summary, data: str) -> str:
    """Return the paper's table with ours, of data of this name, as a plain LaTeX tabular."""
    lines = [
        f"% Quoted rows: {CITATION}.",
        r"\begin{tabular}{lllrr}",
        r"\hline",
        r"Data & System & Metric & Male & Female \\",
        r"\hline",
        *(" & ".join(map(_latex, row)) + r" \\" for row in _paper_rows(summary, data)),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def faces_csv(faces: Sequence[FaceMeasures]) -> str:
    """Return one row a face and method: who, what was found, and every measure."""
    rows: list[tuple[object, ...]] = [
        ("face", "gender", "found", "gender_right", "nme", "iou", "method", *MEASURES)
    ]
    for face in faces:
        known = ("" if v is None else v for v in (face.gender_right, face.nme, face.iou))
        first = (face.name, face.gender, face.found, *known)
        rows += [
            (*first, method, *(f"{scores[m]:.4f}" for m in MEASURES))
            for method, scores in face.scores.items()
        ]
    return csv_text(rows)


# === Rows ===


def _paper_rows(summary: Summary, data: str = "measured") -> Iterator[tuple[str, ...]]:
    for quoted, metric, male, female in QUOTES:
        yield quoted, "paper (quoted)", metric, male, female
    for system in _SYSTEMS:
        groups = summary.scores[system]
        name = system if system in BASELINES else f"unmask, {system}"
        for measure in _IN_PAPER_TABLE:
            cells = (
                _cell(groups[g][measure], measure) if g in groups else "-"
                for g in ("male", "female")
            )
            yield data, name, _TITLES[measure], *cells


def _condition_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    for method in (*BASELINES, *(condition.name for condition in CONDITIONS)):
        for group, measures in summary.scores[method].items():
            if group == "found" and method in BASELINES:
                continue
            count = str(measures[MEASURES[0]].count)
            yield method, group, count, *(_cell(measures[m], m) for m in MEASURES)


def _loss_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    for loss in summary.losses:
        if loss.measure in _IN_LOSS_TABLE:
            cells = (_cell(e, loss.measure, sign="+") for e in (loss.replaced, loss.alone))
            yield loss.stage, _TITLES[loss.measure], *cells


def _stage_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    for group, figures in summary.stages.items():
        shares = (
            f"{100 * e.mean:.1f} % [{100 * e.low:.1f}, {100 * e.high:.1f}]" if e else "-"
            for e in (figures.get(name) for name in ("found", "gender", "nme"))
        )
        overlap = _cell(figures["iou"], "ssim_rgb") if "iou" in figures else "-"
        yield group, str(figures["found"].count), *shares, overlap


# === Cells ===


def _cell(value: Estimate, measure: str, sign: str = "") -> str:
    form = f"{sign}.2f" if measure.startswith("psnr") else f"{sign}.3f"
    return f"{value.mean:{form}} [{value.low:{form}}, {value.high:{form}}]"


def _latex(text: str) -> str:
    for sign in "&%_#":
        text = text.replace(sign, "\\" + sign)
    return text
