"""Pairs and videos as members of an archive, and back.

Members of a pair, by the end of their names; only what a sample has is written:

    0.jpg, 1.jpg              the images (or .png)
    grid01.png, grid10.png    16 bits, [2H W]: the place of each pixel of image 0 in image 1, and the other way
    depth0.png, depth1.png    16 bits: z in units of a scale that the JSON gives
    mask0.png, mask1.png      one bit: the foreground
    json                      everything else

Members of a video:

    0000.jpg, 0001.jpg, ...   the frames (or .png)
    tracks.npz                xy [N T 2] float32, visible [N T] bool, query_frame [N] int64; no pickle
    json                      name and size

The JSON explains the numbers, so that other projects can read them without our code. Coordinates are homolog's;
TAP-Vid's files count from the outer corner, as fractions of the size: (xy + 0.5) / (width, height).
"""

import io
import json
import zipfile
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, identity_affine
from homolog.core.dense import DenseField
from homolog.core.errors import DataError, ShapeError
from homolog.core.image import Image
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks
from homolog.synthetic.shards import codecs
from homolog.synthetic.shards.codecs import Pictures

SCHEMA = 1
"""Version of the members and the JSON; newer ones are refused."""

CONVENTION = "(x, y) in pixels, whole numbers are pixel centres; sizes are (height, width); X1 = R X0 + t"

Kind = Literal["pair", "video"]

_TRACKS = {"xy": np.float32, "visible": np.bool_, "query_frame": np.int64}
_BROKEN = (
    *(AttributeError, EOFError, IndexError, KeyError, OSError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)


def kind_of(sample: PairSample | VideoSample) -> Kind:
    """Return the kind of a sample, as descriptions name it."""
    return "pair" if isinstance(sample, PairSample) else "video"


def encode(sample: PairSample | VideoSample, pictures: Pictures) -> dict[str, bytes]:
    """Return the members of a sample, whose images are their own originals, by the end of their names.

    Raises:
        ConfigError: images that are too large for 16-bit grids.
        ShapeError: images that were cropped or resized, labels that are not exact, or no frames.
    """
    if isinstance(sample, PairSample):
        return _encode_pair(sample, pictures)
    return _encode_video(sample, pictures)


def decode_pair(members: Mapping[str, bytes], where: str) -> PairSample:
    """Return the pair that members hold; `where` is shard and sample, for error messages.

    Raises:
        DataError: a member is missing, damaged, or of a newer version of homolog.
    """
    with _damage_of("pair", where):
        return _pair(members, _facts(members, "pair", where), where)


def decode_video(members: Mapping[str, bytes], where: str) -> VideoSample:
    """Return the video that members hold; `where` is shard and sample, for error messages.

    Raises:
        DataError: a member is missing, damaged, or of a newer version of homolog.
    """
    with _damage_of("video", where):
        facts = _facts(members, "video", where)
        frames = [_image(members, f"{number:04d}", where) for number in range(int(facts["frames"]))]
        arrays = np.load(io.BytesIO(members["tracks.npz"]), allow_pickle=False)
        tracks = Tracks(
            **{name: torch.from_numpy(arrays[name].astype(dtype)) for name, dtype in _TRACKS.items()}
        )
        return VideoSample(frames=frames, tracks=tracks, name=facts["name"])


@contextmanager
def _damage_of(kind: Kind, where: str) -> Generator[None]:
    """Turn whatever a damaged sample raises into a DataError."""
    try:
        yield
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(
            f"{where}: expected a whole {kind}, got {type(error).__name__}: {error}; generate the shard again"
        ) from error


def _encode_pair(sample: PairSample, pictures: Pictures) -> dict[str, bytes]:
    _check_originals([sample.image0, sample.image1], sample.name)
    members = {
        f"{side}.{pictures}": codecs.encode_image(image.pixels, pictures)
        for side, image in enumerate((sample.image0, sample.image1))
    }
    grids: dict[str, Any] = {}
    for name, field, reference in (
        ("grid01", sample.dense0, sample.image1),
        ("grid10", sample.dense1, sample.image0),
    ):
        if field is not None:
            numbers = codecs.encode_grid(field, reference.size)
            members[f"{name}.png"] = codecs.encode_uint16(numbers)
            known = (numbers[: len(numbers) // 2] != codecs.UNKNOWN).mean()
            grids[name] = {
                "step": codecs.STEP,
                "first": -0.5,
                "unknown": codecs.UNKNOWN,
                "known_fraction": round(float(known), 6),
            }
    depths: dict[str, Any] = {}
    for name, depth in (("depth0", sample.depth0), ("depth1", sample.depth1)):
        if depth is not None:
            numbers, scale = codecs.encode_depth(depth)
            members[f"{name}.png"] = codecs.encode_uint16(numbers)
            depths[name] = {"scale": scale, "unknown": codecs.UNKNOWN}
    for name, mask in (("mask0", sample.mask0), ("mask1", sample.mask1)):
        if mask is not None:
            members[f"{name}.png"] = codecs.encode_mask(mask)
    members["json"] = _to_json({**_pair_facts(sample), "grids": grids, "depths": depths})
    return members


def _encode_video(sample: VideoSample, pictures: Pictures) -> dict[str, bytes]:
    frames = sample.frames
    _check_originals(frames, sample.name)
    members = {
        f"{number:04d}.{pictures}": codecs.encode_image(frame.pixels, pictures)
        for number, frame in enumerate(frames)
    }
    arrays = {
        name: getattr(sample.tracks, name).cpu().numpy().astype(dtype) for name, dtype in _TRACKS.items()
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    members["tracks.npz"] = packed.getvalue()
    members["json"] = _to_json(
        {
            "schema": SCHEMA,
            "kind": "video",
            "name": sample.name,
            "convention": CONVENTION,
            "frames": len(frames),
            "size": list(frames[0].size),
            "tracks": len(sample.tracks),
        }
    )
    return members


def _check_originals(images: list[Image], name: str) -> None:
    if not images or not all(torch.equal(image.to_original.cpu(), identity_affine()) for image in images):
        raise ShapeError(
            f"{name}: expected images in their original size, got none, or resized or cropped ones"
        )


def _pair_facts(sample: PairSample) -> dict[str, Any]:
    """Return everything that is stored as text."""
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


def _facts(members: Mapping[str, bytes], kind: Kind, where: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(members["json"])
    except (KeyError, ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: expected a JSON, got none or a damaged one; generate the shard again"
        ) from error
    facts = cast(dict[str, Any], content) if isinstance(content, dict) else {}
    if facts.get("kind") != kind or not isinstance(facts.get("schema"), int):
        raise DataError(f"{where}: expected a {kind}, got {facts.get('kind')!r}; name another folder")
    if facts["schema"] > SCHEMA:
        raise DataError(
            f"{where}: expected samples of schema {SCHEMA} or older, got {facts['schema']}; update homolog"
        )
    return facts


def _pair(members: Mapping[str, bytes], facts: Mapping[str, Any], where: str) -> PairSample:
    def tensor(name: str) -> Tensor | None:
        if facts[name] is None:
            return None
        dtype = torch.float64 if name in facts["float64"] else torch.float32
        value = torch.tensor(facts[name], dtype=torch.float64).to(dtype)
        return value.reshape(-1, 2) if name.startswith("xy") else value  # no points: [0 2]

    image0, image1 = (_image(members, str(side), where, facts["images"][side]) for side in (0, 1))
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
        dense0=_grid(members, facts, "grid01", image1.size, where),
        dense1=_grid(members, facts, "grid10", image0.size, where),
        depth0=_depth(members, facts, "depth0", where),
        depth1=_depth(members, facts, "depth1", where),
        mask0=_mask(members, "mask0", image0.size, where),
        mask1=_mask(members, "mask1", image1.size, where),
        name=facts["name"],
        facts={str(key): str(value) for key, value in facts["facts"].items()},
    )


def _image(
    members: Mapping[str, bytes], stem: str, where: str, facts: Mapping[str, Any] | None = None
) -> Image:
    (name,) = [name for name in (f"{stem}.jpg", f"{stem}.png") if name in members]
    label = f"{where}.{name}"
    pixels = codecs.decode_image(members[name], label)
    if facts is None:
        return Image(pixels=pixels, name=label)
    if list(pixels.shape[1:]) != facts["size"]:
        raise DataError(
            f"{label}: expected {facts['size']} pixels, got {list(pixels.shape[1:])}; generate the shard again"
        )
    return Image(pixels=pixels, name=facts["name"])


def _grid(
    members: Mapping[str, bytes], facts: Mapping[str, Any], name: str, reference: Size, where: str
) -> DenseField | None:
    if name not in facts["grids"]:
        return None
    label = f"{where}.{name}.png"
    numbers = codecs.decode_uint16(members[f"{name}.png"], label)
    return codecs.decode_grid(numbers, reference, step=facts["grids"][name]["step"], name=label)


def _depth(members: Mapping[str, bytes], facts: Mapping[str, Any], name: str, where: str) -> Tensor | None:
    if name not in facts["depths"]:
        return None
    numbers = codecs.decode_uint16(members[f"{name}.png"], f"{where}.{name}.png")
    return codecs.decode_depth(numbers, facts["depths"][name]["scale"])


def _mask(members: Mapping[str, bytes], name: str, size: Size, where: str) -> Tensor | None:
    if f"{name}.png" not in members:
        return None
    mask = codecs.decode_mask(members[f"{name}.png"], f"{where}.{name}.png")
    if tuple(mask.shape) != size:
        raise DataError(
            f"{where}.{name}.png: expected {size} pixels, got {tuple(mask.shape)}; generate the shard again"
        )
    return mask


def _numbers(value: Tensor) -> Any:
    """Return nested lists; nine digits restore a float32 to the bit, and read better than seventeen."""
    if not bool(value.isfinite().all()):
        raise ShapeError("expected finite numbers in points, boxes, cameras and poses, got infinity or NaN")
    plain = value.detach().cpu().tolist()
    return plain if value.dtype == torch.float64 else _shortened(plain)


def _shortened(value: Any) -> Any:
    return [_shortened(below) for below in value] if isinstance(value, list) else float(f"{value:.9g}")


def _to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
