"""Pictures of images, detections, targets and figures, drawn with Matplotlib."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray
from skimage.measure import find_contours

from unmask.mrcnn.images import unmold_mask
from unmask.mrcnn.utils import compute_matches

if TYPE_CHECKING:
    from unmask.mrcnn.model import MaskRCNN

Array = NDArray[Any]
Colour = tuple[float, float, float]


def random_colors(N: int, bright: bool = True, seed: int | None = None) -> list[Colour]:
    """Return N colours, RGB in [0, 1], far apart, of full brightness or 70 %, in random order."""
    colours = [colorsys.hsv_to_rgb(i / max(N, 1), 1, 1.0 if bright else 0.7) for i in range(N)]
    order = np.random.default_rng(seed).permutation(N)
    return [colours[i] for i in order]


def apply_mask(image: Array, mask: Array, color: Sequence[float], alpha: float = 0.5) -> Array:
    """Tint the pixels of a mask (H, W) in place, (H, W, 3) up to 255, by RGB in [0, 1].

    Raises:
        ValueError: The mask has another size.
    """
    inside = np.asarray(mask) > 0
    if inside.shape != image.shape[:2]:
        raise ValueError(
            "a mask must have the image's size; utils.expand_mask makes mini masks whole. "
            f"Received: image {image.shape}, mask {inside.shape}"
        )
    tint = 255 * np.asarray(color)
    image[inside] = (image[inside] * (1 - alpha) + alpha * tint).astype(image.dtype)
    return image


def display_images(
    images: Sequence[Array], titles: Sequence[str] | None = None, cols: int = 4, cmap: Any = None,
    norm: Any = None, interpolation: Any = None,
) -> None:  # fmt: skip
    """Show pictures in rows."""
    rows = -(-len(images) // cols)
    plt.figure(figsize=(14, 14 * rows // cols + 1))
    for i, image in enumerate(images):
        plt.subplot(rows, cols, i + 1)
        plt.title(titles[i] if titles else "", fontsize=9)
        plt.axis("off")
        plt.imshow(image, cmap=cmap, norm=norm, interpolation=interpolation)
    _show()


def display_instances(
    image: Array, boxes: Array, masks: Array, class_ids: Array, class_names: Sequence[str],
    scores: Array | None = None, title: str = "", figsize: tuple[float, float] = (16, 16),
    ax: Axes | None = None, show_mask: bool = True, show_bbox: bool = True,
    colors: Sequence[Colour] | None = None, captions: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Show an image (H, W, 3) with its objects: tinted masks, outlines, boxes, names.

    Args:
        image: uint8.
        boxes: (n, 4) pixels; rows of zeros are left out.
        masks: (H, W, n).
        class_ids: (n,).
        class_names: Name of each class.
        scores: (n,) for the captions.
        title: Above the picture.
        figsize: Inches of the figure that is made and shown without `ax`.
        ax: Where to draw.
        show_mask: Whether to tint masks; their outlines are always drawn.
        show_bbox: Whether to draw boxes.
        colors: A colour an object; by default far apart.
        captions: Texts instead of name and score.

    Raises:
        ValueError: The numbers of boxes, masks and classes differ, or the sizes of image and masks.
    """
    count = len(boxes)
    if count and not count == masks.shape[-1] == len(class_ids):
        raise ValueError(
            "boxes, masks and class_ids must belong together. "
            f"Received: {count}, {masks.shape[-1]} and {len(class_ids)}"
        )
    if not count:
        print("\n*** No instances to display *** \n")  # noqa: T201 -- programs look for it
    ax, show = _axes(ax, figsize)
    colors = colors or random_colors(count, seed=0)
    height, width = image.shape[:2]
    ax.set_ylim(height + 10, -10)
    ax.set_xlim(-10, width + 10)
    ax.axis("off")
    ax.set_title(title)
    canvas = image.astype(np.uint32)
    shown = np.flatnonzero(np.any(boxes, axis=1)).tolist() if count else []
    for i in shown:
        if captions is not None:
            text = captions[i]
        else:
            name = class_names[class_ids[i]]
            text = name if scores is None else f"{name} {scores[i]:.3f}"
        if show_bbox:
            _rectangle(ax, boxes[i], colors[i], alpha=0.7, style="dashed")
        ax.text(boxes[i][1], boxes[i][0] + 8, text, color="w", size=11, backgroundcolor="none")
        if show_mask:
            apply_mask(canvas, masks[:, :, i], colors[i])
        _outline(ax, masks[:, :, i], colors[i])
    ax.imshow(canvas.astype(np.uint8))
    show()


def display_differences(
    image: Array, gt_box: Array, gt_class_id: Array, gt_mask: Array, pred_box: Array,
    pred_class_id: Array, pred_score: Array, pred_mask: Array, class_names: Sequence[str],
    title: str = "", ax: Axes | None = None, show_mask: bool = True, show_box: bool = True,
    iou_threshold: float = 0.5, score_threshold: float = 0.5,
) -> None:  # fmt: skip
    """Show true objects in green and detections in red, with scores and overlaps."""
    _, pred_match, overlaps = compute_matches(
        gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask,
        iou_threshold=iou_threshold, score_threshold=score_threshold,
    )  # fmt: skip
    order = np.argsort(-np.asarray(pred_score), kind="stable")
    captions = [""] * len(gt_box) + [
        f"{pred_score[row]:.2f} / {overlaps[i].max() if overlaps.shape[1] else 0.0:.2f}"
        + ("" if pred_match[i] > -1 else " wrong")
        for i, row in enumerate(order)
    ]
    display_instances(
        image,
        np.concatenate([gt_box, np.asarray(pred_box)[order]]),
        np.concatenate([gt_mask, pred_mask[..., order]], axis=-1),
        np.concatenate([gt_class_id, np.asarray(pred_class_id)[order]]),
        class_names, title=title or "true objects green, detections red: score / overlap",
        ax=ax, show_mask=show_mask, show_bbox=show_box, captions=captions,
        colors=[(0.0, 1.0, 0.0)] * len(gt_box) + [(1.0, 0.0, 0.0)] * len(pred_box),
    )  # fmt: skip


def draw_rois(
    image: Array, rois: Array, refined_rois: Array, mask: Array, class_ids: Array,
    class_names: Sequence[str], limit: int = 10,
) -> None:  # fmt: skip
    """Show some proposals (n, 4), where the network moved them, and masks (n, h, w) in there."""
    _, ax = plt.subplots(1, figsize=(12, 12))
    ax.axis("off")
    canvas = image.astype(np.uint32)
    for i, color in zip(range(min(limit, len(rois))), random_colors(limit, seed=0), strict=False):
        found = class_ids[i] > 0
        _rectangle(ax, rois[i], color if found else (0.5, 0.5, 0.5), alpha=0.7, style="dashed")
        if found:
            _rectangle(ax, refined_rois[i], color)
            ax.text(
                refined_rois[i][1], refined_rois[i][0] + 8, class_names[class_ids[i]], color="w"
            )
            apply_mask(canvas, unmold_mask(mask[i], refined_rois[i], image.shape[:2]), color)
    ax.imshow(canvas.astype(np.uint8))
    _show()


def draw_box(image: Array, box: Sequence[int], color: Sequence[int]) -> Array:
    """Draw a box y1, x1, y2, x2 with lines of 2 pixels in place, by RGB from 0 to 255."""
    y1, x1, y2, x2 = (max(0, int(side)) for side in box)
    for part in (
        np.s_[y1 : y1 + 2, x1:x2], np.s_[y2 : y2 + 2, x1:x2],
        np.s_[y1:y2, x1 : x1 + 2], np.s_[y1:y2, x2 : x2 + 2],
    ):  # fmt: skip
        image[part] = color
    return image


def display_top_masks(
    image: Array, mask: Array, class_ids: Array, class_names: Sequence[str], limit: int = 4
) -> None:
    """Show the image and, for each of the classes that cover most of it, its masks together."""
    areas = {
        int(c): float((mask[..., np.asarray(class_ids) == c] > 0).sum())
        for c in np.unique(class_ids)
        if c > 0
    }
    top = sorted(areas, key=lambda c: -areas[c])[:limit]
    pictures, titles = [image], [f"H x W = {image.shape[0]} x {image.shape[1]}"]
    for c in top:
        chosen = mask[..., np.asarray(class_ids) == c] > 0
        pictures.append((chosen * np.arange(1, chosen.shape[-1] + 1)).max(axis=-1))
        titles.append(class_names[c])
    display_images(pictures, titles, cols=limit + 1, cmap="Blues_r")


def plot_precision_recall(AP: float, precisions: Array, recalls: Array) -> None:
    """Show a precision-recall curve."""
    _, ax = plt.subplots(1)
    ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
    ax.set_ylim(0, 1.1)
    ax.set_xlim(0, 1.1)
    ax.plot(recalls, precisions)
    _show()


def plot_overlaps(
    gt_class_ids: Array, pred_class_ids: Array, pred_scores: Array, overlaps: Array,
    class_names: Sequence[str], threshold: float = 0.5,
) -> None:  # fmt: skip
    """Show the overlaps (detections, true objects) as a table with colours."""
    plt.figure(figsize=(12, 10))
    plt.imshow(overlaps, interpolation="nearest", cmap="Blues")
    names = [class_names[c] for c in gt_class_ids if c > 0]
    found = [
        f"{class_names[c]} ({score:.2f})"
        for c, score in zip(pred_class_ids, pred_scores, strict=True)
        if c > 0
    ]
    plt.yticks(np.arange(len(found)), found)
    plt.xticks(np.arange(len(names)), names, rotation=90)
    for (i, j), value in np.ndenumerate(overlaps):
        note = ""
        if value > threshold:
            note = "match" if gt_class_ids[j] == pred_class_ids[i] else "wrong"
        colour = "white" if value > 0.6 else "black"
        plt.text(j, i, f"{value:.3f}\n{note}", ha="center", va="center", fontsize=9, color=colour)
    plt.xlabel("Ground Truth")
    plt.ylabel("Predictions")
    _show()


def draw_boxes(
    image: Array, boxes: Array | None = None, refined_boxes: Array | None = None,
    masks: Array | None = None, captions: Sequence[str] | None = None,
    visibilities: Sequence[int] | None = None, title: str = "", ax: Axes | None = None,
) -> None:  # fmt: skip
    """Show boxes (n, 4), dashed, where they move to, solid, and masks (H, W, n).

    `visibilities` are 0 for a grey, 1 for a pale and 2 for a full box. Without `ax` a figure is
    made and shown.
    """
    given = boxes if boxes is not None else refined_boxes
    if given is None:
        raise ValueError("boxes or refined_boxes must be given. Received: neither")
    ax, show = _axes(ax, (12, 12))
    ax.axis("off")
    ax.set_title(title)
    canvas = image.astype(np.uint32)
    for i, color in enumerate(random_colors(len(given), seed=0)):
        visibility = 1 if visibilities is None else visibilities[i]
        shade = (0.5, 0.5, 0.5) if visibility == 0 else color
        alpha = 1.0 if visibility == 2 else 0.5
        if boxes is not None and np.any(boxes[i]):
            _rectangle(ax, boxes[i], shade, alpha=alpha, style="dashed")
        if refined_boxes is not None and visibility > 0:
            _rectangle(ax, refined_boxes[i], shade)
            if boxes is not None:
                ax.plot(
                    [boxes[i][1], refined_boxes[i][1]], [boxes[i][0], refined_boxes[i][0]],
                    color=shade,
                )  # fmt: skip
        if captions is not None:
            where = given[i] if refined_boxes is None else refined_boxes[i]
            ax.text(where[1], where[0], captions[i], size=11, color="w", va="top")
        if masks is not None:
            apply_mask(canvas, masks[:, :, i], color)
            _outline(ax, masks[:, :, i], color)
    ax.imshow(canvas.astype(np.uint8))
    show()


def display_table(table: Sequence[Sequence[Any]]) -> None:
    """Show rows as a table: in a notebook as HTML, elsewhere as text."""
    try:
        from IPython.display import HTML, display
    except ImportError:
        print("\n".join("  ".join(str(cell) for cell in row) for row in table))  # noqa: T201
        return
    from html import escape

    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in table
    )
    display(HTML(f"<table>{rows}</table>"))


def display_weight_stats(model: MaskRCNN) -> None:
    """Show shape, range and spread of each weight; a constant one is marked as suspicious."""
    rows: list[list[str]] = [["WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD"]]
    for weight in model.keras_model.weights:
        values = np.asarray(weight.numpy())
        dead = " *** dead?" if values.size > 1 and values.min() == values.max() else ""
        rows.append(
            [
                weight.path + dead, str(values.shape), f"{values.min():+9.4f}",
                f"{values.max():+10.4f}", f"{values.std():+9.4f}",
            ]
        )  # fmt: skip
    display_table(rows)


def _axes(ax: Axes | None, figsize: tuple[float, float]) -> tuple[Axes, Callable[[], None]]:
    """Return where to draw, and what to call at the end: a figure made here is shown."""
    if ax is not None:
        return ax, lambda: None
    return plt.subplots(1, figsize=figsize)[1], _show


def _show() -> None:
    # Without a screen there is nothing to show; the figure stays open for `savefig`.
    if plt.get_backend().lower() != "agg":
        plt.show()


def _rectangle(
    ax: Axes, box: Array, color: Colour, alpha: float = 1.0, style: str = "solid"
) -> None:
    y1, x1, y2, x2 = (float(v) for v in box)
    ax.add_patch(
        Rectangle(
            (x1, y1), x2 - x1, y2 - y1, linewidth=2, alpha=alpha, linestyle=style,
            edgecolor=color, facecolor="none",
        )
    )  # fmt: skip


def _outline(ax: Axes, mask: Array, color: Colour) -> None:
    # A border of zeros closes outlines at the image's edge.
    for contour in find_contours(np.pad(np.asarray(mask, float), 1), 0.5):
        ax.add_patch(Polygon(np.fliplr(contour) - 1, facecolor="none", edgecolor=color))
