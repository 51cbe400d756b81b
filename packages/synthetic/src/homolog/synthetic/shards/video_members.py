"""A video as the members of an archive, and back.

    0000.jpg, 0001.jpg, ...    the frames (or .png)
    tracks.npz                 xy [N T 2] float32, visible [N T] bool, query_frame [N] int64; no pickle
    json                       name and size

Coordinates are homolog's: pixels of the frames, whole numbers are pixel centres. In TAP-Vid's files they count
from the outer corner, as shares of the size: (xy + 0.5) / (width, height).
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import torch

from homolog.core.coords import identity_affine
from homolog.core.errors import DataError, ShapeError
from homolog.core.image import Image
from homolog.core.samples import VideoSample
from homolog.core.tracks import Tracks
from homolog.synthetic.shards.pair_members import CONVENTION, SCHEMA, read_json_member
from homolog.synthetic.shards.picture import Pictures, decode_picture, encode_picture

_ARRAYS = {"xy": np.float32, "visible": np.bool_, "query_frame": np.int64}
_BROKEN = (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)


def encode_video(sample: VideoSample, pictures: Pictures) -> dict[str, bytes]:
    """Return the members of a video by the end of their names.

    Args:
        sample: whose frames are their own originals, as made ones are.
        pictures: how frames are stored.

    Raises:
        ShapeError: no frames, or frames that were cut or resized.
    """
    frames = sample.frames
    if not frames or not all(torch.equal(frame.to_original.cpu(), identity_affine()) for frame in frames):
        raise ShapeError(f"{sample.name}: expected frames as they were made, got none or resized ones")
    members = {
        f"{number:04d}.{pictures}": encode_picture(frame.pixels, pictures)
        for number, frame in enumerate(frames)
    }
    arrays = {name: getattr(sample.tracks, name).cpu().numpy().astype(kind) for name, kind in _ARRAYS.items()}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    members["tracks.npz"] = packed.getvalue()
    facts = {
        "schema": SCHEMA,
        "kind": "video",
        "name": sample.name,
        "convention": CONVENTION,
        "frames": len(frames),
        "size": list(frames[0].size),
        "tracks": len(sample.tracks),
    }
    members["json"] = json.dumps(facts, ensure_ascii=False, allow_nan=False).encode()
    return members


def decode_video(members: Mapping[str, bytes], where: str) -> VideoSample:
    """Return the video that members hold.

    Args:
        members: by the end of their names.
        where: what error messages call them.

    Raises:
        DataError: a member that is missing, damaged, or of a newer version of homolog.
    """
    facts = read_json_member(members, "video", where)
    try:
        frames = [_frame(members, number, where) for number in range(int(facts["frames"]))]
        arrays = np.load(io.BytesIO(members["tracks.npz"]), allow_pickle=False)
        tracks = Tracks(
            **{name: torch.from_numpy(arrays[name].astype(kind)) for name, kind in _ARRAYS.items()}
        )
        return VideoSample(frames=frames, tracks=tracks, name=facts["name"])
    except DataError:
        raise
    except _BROKEN as error:
        raise DataError(
            f"{where}: expected a whole video, got {type(error).__name__}: {error}; generate the shard again"
        ) from error


def _frame(members: Mapping[str, bytes], number: int, where: str) -> Image:
    (name,) = [name for name in (f"{number:04d}.jpg", f"{number:04d}.png") if name in members]
    return Image(pixels=decode_picture(members[name], f"{where}.{name}"), name=f"{where}.{name}")
