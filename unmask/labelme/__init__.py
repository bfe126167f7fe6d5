"""Labelme annotations: JSON files to masks, COCO, VOC and YOLO, and back.

Reads what Labelme 3 to 6 write: polygons, rectangles (two corners, or four in any rotation),
circles, lines and line strips of a given width, and masks; points cover nothing and are passed
over. Shapes with the same label and `group_id` are one instance. Labelme itself is not needed.

Coordinates are drawn with pixel centres at integers, as everywhere in this package: a pixel belongs
to a polygon if its centre lies inside or on the outline (scikit-image's `draw.polygon`). What
reaches over the frame is cut off at it. Polygons lie on the upright image, because Labelme applies
the EXIF orientation when it opens one, and so does `unmask.image`.

Labels are compared as they are written: "Mask" and "mask " are other labels than "mask". Where only
some labels are asked for, the other shapes are counted, but not read, so that a broken one does no
harm.

Every error names the file, the shape's index and the field, as in
`a.json: shapes[3].points[2]: must be two finite numbers ... Received: [nan, 1]`.
"""

from unmask.labelme.annotation import Annotation, Shape, read_annotation
from unmask.labelme.conversion import Conversion, Split, convert
from unmask.labelme.drawing import (
    DEFAULT_LINE_WIDTH,
    Instance,
    draw_instances,
    draw_mask,
)
from unmask.labelme.files import find_annotations, read_image
from unmask.labelme.importing import ForeignFormat, Imported, import_annotations

__all__ = [
    "DEFAULT_LINE_WIDTH",
    "Annotation",
    "Conversion",
    "ForeignFormat",
    "Imported",
    "Instance",
    "Shape",
    "Split",
    "convert",
    "draw_instances",
    "draw_mask",
    "find_annotations",
    "import_annotations",
    "read_annotation",
    "read_image",
]
