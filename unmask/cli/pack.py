"""`unmask pack`: faces as canonical crops in a few files that travel well."""

from __future__ import annotations

from unmask.cli.arguments import ExistingPath, OutFolder


def pack(*data: ExistingPath, out: OutFolder) -> None:
    """Pack faces for a training elsewhere: canonical 256 px crops with all that is known of them.

    Args:
        data: Face folders, or folders that hold face folders.
        out: Folder for faces-000.zip, faces-001.zip, ..., of at most 48 MB each.
    """
    from unmask.data.faces import find_collections, gather_faces
    from unmask.data.pack import pack_faces

    faces = gather_faces(data, dict.fromkeys(find_collections(data), 1.0))
    for part in pack_faces(faces.records, out):
        print(f"{part}: {part.stat().st_size / 1e6:.1f} MB")
