"""Write a video and its tracks in the layout of TAP-Vid, as an npz that loads without pickle.

One file holds one video: `video` uint8 [T H W 3], `points` float32 [N T 2] as x, y in 0..1 with (0, 0) at the
outer corner of the first pixel, `occluded` bool [N T]. `homolog.data.tapvid` reads a file, or a folder of them.
"""

import io
from pathlib import Path

import numpy as np
import torch

from homolog.core.atomic import write_bytes
from homolog.core.coords import pixel_to_normalised
from homolog.core.samples import VideoSample


def write_tapvid(sample: VideoSample, path: Path) -> None:
    """Write a video, whole or not at all.

    What TAP-Vid's layout has no place for is not written: the frames on which tracks are asked for. Its
    protocols say which those are, and so does the reader: where each is first in sight. Positions that are
    unknown (behind the camera) stay NaN; they are occluded.

    Args:
        sample: frames of 8 bits come back as they were.
        path: where to; should end in `.npz`.

    Raises:
        DataError: it cannot be written there.
    """
    frames = torch.stack([frame.pixels for frame in sample.frames]).detach().cpu()
    video = (frames.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    xy = sample.tracks.xy.detach().cpu().double()
    points = (pixel_to_normalised(xy, sample.frames[0].size) + 1) / 2
    encoded = io.BytesIO()
    np.savez_compressed(
        encoded,
        allow_pickle=False,
        video=video.numpy(),
        points=points.float().numpy(),
        occluded=~sample.tracks.visible.cpu().numpy(),
    )
    write_bytes(path, encoded.getvalue())
