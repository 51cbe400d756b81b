"""A pair as the members of an archive, and back.

    0.jpg, 1.jpg              the images (or .png)
    grid01.png, grid10.png    16 bits, [2H W]: for each pixel of image 0 its place in image 1, and the other way
    depth0.png, depth1.png    16 bits: z in units of a scale that the JSON says
    mask0.png, mask1.png      one bit: the foreground
    json                      everything else

Only what a sample has is there. The JSON says what the numbers mean, so that readers of other projects need
no code of ours.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, identity_affine
from homolog.core.dense import DenseField
from homolog.core.errors import DataError, ShapeError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.synthetic.shards import depth_code, grid_code
from homolog.synthetic.shards.deep_png import decode_deep_png, encode_deep_png
from homolog.synthetic.shards.picture import (
    Pictures,
    decode_mask,
    decode_picture,
    encode_mask,
    encode_picture,
)

SCHEMA = 1
"""Of the members and the JSON; a reader refuses a newer one."""

CONVENTION = "(x, y) in pixels, whole numbers are pixel centres; sizes are (height, width); X1 = R X0 + t"


def encode_pair(sample: PairSample, pictures: Pictures) -> dict[str, bytes]:
    """Return the members of a pair by the end of their names.

    Args:
        sample: whose images are their own originals, as made ones are.
        pictures: how images are stored.

    Raises:
        ConfigError: images that are too large for 16-bit grids.
        ShapeError: images that were cut or resized, or labels that are no truth.
    """
    images = (sample.image0, sample.image1)
    if not all(torch.equal(image.to_original.cpu(), identity_affine()) for image in images):
        raise ShapeError(f"{sample.name}: expected images as they were made, got a resized or cropped one")
    members = {
        f"{side}.{pictures}": encode_picture(image.pixels, pictures) for side, image in enumerate(images)
    }
    facts: dict[str, Any] = {"grids": {}, "depths": {}}
    for name, field, reference in (
        ("grid01", sample.dense0, sample.image1),
        ("grid10", sample.dense1, sample.image0),
    ):
        if field is not None:
            numbers = grid_code.encode_field(field, reference.size)
            members[f"{name}.png"] = encode_deep_png(numbers)
            known = (numbers[: len(numbers) // 2] != grid_code.UNKNOWN).mean()
            facts["grids"][name] = {
                "step": grid_code.STEP,
                "first": -0.5,
                "unknown": grid_code.UNKNOWN,
                "known_share": round(float(known), 6),
            }
    for name, depth in (("depth0", sample.depth0), ("depth1", sample.depth1)):
        if depth is not None:
            numbers, scale = depth_code.encode_depth(depth)
            members[f"{name}.png"] = encode_deep_png(numbers)
            facts["depths"][name] = {"scale": scale, "unknown": depth_code.UNKNOWN}
    for name, mask in (("mask0", sample.mask0), ("mask1", sample.mask1)):
        if mask is not None:
            members[f"{name}.png"] = encode_mask(mask)
    members["json"] = _to_json({**_described(sample), **facts})
    return members


def decode_pair(members: Mapping[str, bytes], where: str) -> PairSample:
    """Return the pair that members hold.

    Args:
        members: by the end of their names.
        where: what error messages call them.

    Raises:
        DataError: a member that is missing, damaged, or of a newer version of homolog.
    """
    facts = read_json_member(members, "pair", where)
    try:
        return _pair(members, facts, where)
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        raise DataError(
            f"{where}: expected a whole pair, got {type(error).__name__}: {error}; generate the shard again"
        ) from error


def read_json_member(members: Mapping[str, bytes], kind: str, where: str) -> dict[str, Any]:
    """Return the JSON of a sample.

    Args:
        members: by the end of their names.
        kind: of the sample, `pair` or `video`.
        where: what error messages call them.

    Raises:
        DataError: it is missing, damaged, of another kind, or of a newer version of homolog.
    """
    try:
        facts: Any = json.loads(members["json"])
    except (KeyError, ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: expected a JSON, got none or a damaged one; generate the shard again"
        ) from error
    found = cast(dict[str, Any], facts) if isinstance(facts, dict) else {}
    if found.get("kind") != kind or not isinstance(found.get("schema"), int):
        raise DataError(f"{where}: expected a {kind}, got {found.get('kind')!r}; name another folder")
    if found["schema"] > SCHEMA:
        raise DataError(
            f"{where}: expected samples of schema {SCHEMA} or older, got {found['schema']}; update homolog"
        )
    return found


def _described(sample: PairSample) -> dict[str, Any]:
    """Return what is stored as text."""
    cameras = [camera and camera.K for camera in (sample.camera0, sample.camera1)]
    tensors: dict[str, Tensor | None] = {
        "xy0": sample.xy0,
        "xy1": sample.xy1,
        "box0": sample.box0,
        "box1": sample.box1,
        "K0": cameras[0],
        "K1": cameras[1],
        "R": None if sample.pose is None else sample.pose.R,
        "t": None if sample.pose is None else sample.pose.t,
        "homography": sample.homography,
    }
    return {
        "schema": SCHEMA,
        "kind": "pair",
        "name": sample.name,
        "category": sample.category,
        "convention": CONVENTION,
        "images": [
            {"name": image.name, "size": list(image.size)} for image in (sample.image0, sample.image1)
        ],
        **{name: None if value is None else _numbers(value) for name, value in tensors.items()},
        "float64": [
            name for name, value in tensors.items() if value is not None and value.dtype == torch.float64
        ],
        "visible": None if sample.visible is None else sample.visible.tolist(),
        "groups": {name: flags.tolist() for name, flags in sorted(sample.groups.items())},
        "facts": dict(sorted(sample.facts.items())),
    }


def _pair(members: Mapping[str, bytes], facts: Mapping[str, Any], where: str) -> PairSample:
    double = set(facts["float64"])

    def tensor(name: str) -> Tensor | None:
        dtype = torch.float64 if name in double else torch.float32
        shape = (-1, 2) if name.startswith("xy") else None
        if facts[name] is None:
            return None
        value = torch.tensor(facts[name], dtype=torch.float64).to(dtype)
        return value if shape is None else value.reshape(shape)

    image0, image1 = (_image(members, facts["images"][side], side, where) for side in (0, 1))
    K0, K1, R, t = (tensor(name) for name in ("K0", "K1", "R", "t"))
    visible = facts["visible"]
    return PairSample(
        image0=image0,
        image1=image1,
        xy0=tensor("xy0"),
        xy1=tensor("xy1"),
        visible=None if visible is None else torch.tensor(visible, dtype=torch.bool),
        groups={name: torch.tensor(flags, dtype=torch.bool) for name, flags in facts["groups"].items()},
        box0=tensor("box0"),
        box1=tensor("box1"),
        category=facts["category"],
        camera0=None if K0 is None else Camera(K=K0),
        camera1=None if K1 is None else Camera(K=K1),
        pose=None if R is None or t is None else RelativePose(R=R, t=t),
        homography=tensor("homography"),
        dense0=_field(members, facts, "grid01", image1.size, where),
        dense1=_field(members, facts, "grid10", image0.size, where),
        depth0=_depth(members, facts, "depth0", where),
        depth1=_depth(members, facts, "depth1", where),
        mask0=_mask(members, "mask0", image0.size, where),
        mask1=_mask(members, "mask1", image1.size, where),
        name=facts["name"],
        facts={str(key): str(value) for key, value in facts["facts"].items()},
    )


def _image(members: Mapping[str, bytes], facts: Mapping[str, Any], side: int, where: str) -> Image:
    (name,) = [name for name in (f"{side}.jpg", f"{side}.png") if name in members]
    pixels = decode_picture(members[name], f"{where}.{name}")
    if list(pixels.shape[1:]) != facts["size"]:
        raise DataError(
            f"{where}.{name}: expected {facts['size']} pixels, got {list(pixels.shape[1:])}; "
            "generate the shard again"
        )
    return Image(pixels=pixels, name=facts["name"])


def _field(
    members: Mapping[str, bytes], facts: Mapping[str, Any], name: str, reference: Size, where: str
) -> DenseField | None:
    if name not in facts["grids"]:
        return None
    label = f"{where}.{name}.png"
    numbers = decode_deep_png(members[f"{name}.png"], label)
    return grid_code.decode_field(numbers, reference, step=facts["grids"][name]["step"], name=label)


def _depth(members: Mapping[str, bytes], facts: Mapping[str, Any], name: str, where: str) -> Tensor | None:
    if name not in facts["depths"]:
        return None
    numbers = decode_deep_png(members[f"{name}.png"], f"{where}.{name}.png")
    return depth_code.decode_depth(numbers, facts["depths"][name]["scale"])


def _mask(members: Mapping[str, bytes], name: str, size: Size, where: str) -> Tensor | None:
    if f"{name}.png" not in members:
        return None
    mask = decode_mask(members[f"{name}.png"], f"{where}.{name}.png")
    if tuple(mask.shape) != size:
        raise DataError(
            f"{where}.{name}.png: expected {size} pixels, got {tuple(mask.shape)}; generate it again"
        )
    return mask


def _numbers(value: Tensor) -> Any:
    """Return nested lists; nine digits bring a float32 back to the bit, and read better than seventeen."""
    if value.dtype == torch.float64:
        return _finite(value).tolist()
    return _shortened(_finite(value).tolist())


def _shortened(value: Any) -> Any:
    return [_shortened(below) for below in value] if isinstance(value, list) else float(f"{value:.9g}")


def _finite(value: Tensor) -> Tensor:
    if not bool(value.isfinite().all()):
        raise ShapeError("expected finite numbers in points, boxes, cameras and poses, got others")
    return value.detach().cpu()


def _to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
