"""The colours of a mesh, per corner or from an image texture: reading them through trimesh, and painting them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8
from PIL import Image as PILImage

from homolog.core.errors import ShapeError
from homolog.synthetic.meshes.subdivision import Subdivision
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.paint import vertex_normals
from homolog.synthetic.rendering.rasteriser import interpolate
from homolog.synthetic.rendering.view import View


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Colours:
    """The colours of a mesh, per triangle.

    Attributes:
        rgb: [F 3 3] colour of each corner in [0, 1]; a picture is multiplied by it.
        uv: [F 3 2] place of each corner in its picture: (0, 0) is the picture's lower left corner, (1, 1)
            its upper right one, and beyond it repeats.
        picture: [F] index of the picture, -1 for none.
        pictures: RGB.
    """

    rgb: Float32[np.ndarray, "F 3 3"]
    uv: Float32[np.ndarray, "F 3 2"]
    picture: Int32[np.ndarray, " F"]
    pictures: tuple[UInt8[np.ndarray, "_ _ 3"], ...] = ()

    def __post_init__(self) -> None:
        """Raise ShapeError for parts of different lengths, or an index without a picture."""
        if not len(self.rgb) == len(self.uv) == len(self.picture):
            raise ShapeError(
                f"Colours: expected equal lengths, got {len(self.rgb)}, {len(self.uv)}, {len(self.picture)}"
            )
        if len(self.picture) and int(self.picture.max()) >= len(self.pictures):
            raise ShapeError(
                f"Colours: expected at most {len(self.pictures)} pictures, got index {self.picture.max()}"
            )

    def at(
        self, face: Int32[np.ndarray, " N"], bary: Float32[np.ndarray, "N 3"]
    ) -> Float32[np.ndarray, "N 3"]:
        """Return the colours of places on the mesh, RGB in [0, 1]."""
        colour = np.einsum("nk,nkc->nc", bary, self.rgb[face])
        uv = np.einsum("nk,nkc->nc", bary, self.uv[face])
        for index, picture in enumerate(self.pictures):
            here = self.picture[face] == index
            colour[here] *= _read(picture, uv[here])
        return np.clip(colour, 0, 1)

    def of(self, index: Int64[np.ndarray, " N"], *, turned: bool = False) -> "Colours":
        """Return the colours of some of the triangles, with their corners in the opposite order if `turned`."""
        order = slice(None, None, -1 if turned else 1)
        return Colours(
            rgb=self.rgb[index][:, order],
            uv=self.uv[index][:, order],
            picture=self.picture[index],
            pictures=self.pictures,
        )

    def cut(self, parts: Subdivision) -> "Colours":
        """Return the colours of the triangles that those of this mesh were cut into."""
        return Colours(
            rgb=np.einsum("fij,fjc->fic", parts.corners, self.rgb[parts.parent]).astype(np.float32),
            uv=np.einsum("fij,fjc->fic", parts.corners, self.uv[parts.parent]).astype(np.float32),
            picture=self.picture[parts.parent],
            pictures=self.pictures,
        )


def paint_coloured(
    view: View,
    colours: Colours,
    light: Light,
    others: Float32[np.ndarray, "H W 3"],
) -> Float32[np.ndarray, "H W 3"]:
    """Return the picture of a view whose body 0 has the colours of its mesh, with four samples per pixel.

    The surface is matt. `others` is the picture without body 0; both are RGB in [0, 1].
    """
    height, width = view.size
    fine = View.of(view.scene, view.viewpoint.resized((2 * height, 2 * width)))
    here = fine.shows(0)
    face, bary = fine.raster.face[here], fine.raster.bary[here]
    albedo = colours.at(face - view.scene.first_face[0], bary)
    normals = vertex_normals(view.scene.vertices, view.scene.faces)
    places = interpolate(
        fine.raster, view.scene.faces, np.concatenate((normals, view.scene.vertices), axis=1)
    )
    shade = _shade(places[here], light, view.viewpoint.centre)
    samples = others.repeat(2, axis=0).repeat(2, axis=1)
    samples[here] = np.clip(albedo * shade, 0, 1)
    return samples.reshape(height, 2, width, 2, 3).mean(axis=(1, 3), dtype=np.float32)


def _shade(places: np.ndarray, light: Light, centre: np.ndarray) -> np.ndarray:
    normal, position = places[:, :3], places[:, 3:]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    # The inside of an open surface may be visible.
    behind = np.einsum("nc,nc->n", normal, centre - position) < 0
    normal = np.where(behind[:, None], -normal, normal)
    # As in `rendering.shading`: a sun of some width, a sky, and the light reflected by the ground.
    sun = np.maximum((normal @ light.towards + 0.15) / 1.15, 0)[:, None]
    sky = (0.5 + 0.5 * normal[:, 1])[:, None]
    return (sun * light.sun + sky * light.sky + (1 - sky) * light.ground).astype(np.float32)


def _read(picture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Interpolate a picture that repeats."""
    height, width, _ = picture.shape
    x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    left, top = np.floor(x), np.floor(y)
    s, t = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
    columns = [(left.astype(np.int64) + step) % width for step in (0, 1)]
    rows = [(top.astype(np.int64) + step) % height for step in (0, 1)]
    upper = (1 - s) * picture[rows[0], columns[0]] + s * picture[rows[0], columns[1]]
    lower = (1 - s) * picture[rows[1], columns[0]] + s * picture[rows[1], columns[1]]
    return ((1 - t) * upper + t * lower) / np.float32(255)


_DEFAULT = (102, 102, 102)
"""The default of trimesh for a file without colours."""


def corner_colours(piece: Any) -> Colours | None:
    """Return the colours of a `trimesh.Trimesh`, None if it has none.

    The texture is that of the base colour (`baseColorTexture` of glTF, `map_Kd` of OBJ); all other properties
    of a material are ignored.
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
    if factor is None or tuple(np.asarray(factor)[:3]) == _DEFAULT:
        return None
    return _plain(np.broadcast_to(_unit(factor), (len(faces), 3, 3)).astype(np.float32))


def joined(pieces: Sequence[Colours | None]) -> Colours | None:
    """Concatenate the colours of pieces; None if a piece has none, so that the mesh gets a procedural look."""
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
