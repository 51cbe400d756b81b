"""The colours of a mesh as trimesh reads them: of vertices, of faces, or a picture with coordinates on it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image as PILImage

from homolog.synthetic.colours import Colours

_UNSAID = (102, 102, 102)
"""What trimesh puts in place of a colour that a file does not give."""


def corner_colours(piece: Any) -> Colours | None:
    """Return the colours of a `trimesh.Trimesh`, None if it has none.

    A picture is taken from its base colour (`baseColorTexture` of glTF, `map_Kd` of OBJ); whatever else a
    material says about light is left out.
    """
    visual, faces = piece.visual, np.asarray(piece.faces)
    if visual.kind == "vertex":
        return _plain(_unit(visual.vertex_colors)[faces])
    if visual.kind == "face":
        return _plain(np.repeat(_unit(visual.face_colors)[:, None], 3, axis=1))
    if visual.kind != "texture":
        return None
    material = visual.material
    picture = getattr(material, "baseColorTexture", None)
    picture = getattr(material, "image", None) if picture is None else picture
    if isinstance(picture, PILImage.Image) and visual.uv is not None:
        factor = getattr(material, "baseColorFactor", None)
        tint = np.ones(3, np.float32) if factor is None else _unit(factor)
        return Colours(
            rgb=np.broadcast_to(tint, (len(faces), 3, 3)).astype(np.float32),
            uv=np.asarray(visual.uv, np.float32)[faces],
            picture=np.zeros(len(faces), np.int32),
            pictures=(np.asarray(picture.convert("RGB")),),
        )
    factor = getattr(material, "baseColorFactor", None)
    factor = getattr(material, "diffuse", None) if factor is None else factor
    if factor is None or tuple(np.asarray(factor)[:3]) == _UNSAID:
        return None
    return _plain(np.broadcast_to(_unit(factor), (len(faces), 3, 3)).astype(np.float32))


def joined(pieces: Sequence[Colours | None]) -> Colours | None:
    """Return the colours of pieces one after the other; None if one has none, for then looks are made up."""
    there = [piece for piece in pieces if piece is not None]
    if len(there) < len(pieces):
        return None
    first = np.cumsum([0, *(len(piece.pictures) for piece in there)])
    return Colours(
        rgb=np.concatenate([piece.rgb for piece in there]),
        uv=np.concatenate([piece.uv for piece in there]),
        picture=np.concatenate(
            [
                np.where(piece.picture < 0, -1, piece.picture + start).astype(np.int32)
                for piece, start in zip(there, first[:-1], strict=True)
            ]
        ),
        pictures=tuple(picture for piece in there for picture in piece.pictures),
    )


def _plain(rgb: np.ndarray) -> Colours:
    return Colours(
        rgb=rgb.astype(np.float32),
        uv=np.zeros((len(rgb), 3, 2), np.float32),
        picture=np.full(len(rgb), -1, np.int32),
    )


def _unit(values: Any) -> np.ndarray:
    """Return RGB in [0, 1] from 8 bits or from floating point, without the opacity."""
    array = np.asarray(values)
    scale = 255 if array.dtype.kind in "iu" else 1
    return (array[..., :3] / scale).astype(np.float32)
