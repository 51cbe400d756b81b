"""Tracking 64 points of 24 frames: against extraction alone, a plain loop, and matching pair by pair.

`FrameByFrame` extracts each frame once, and then searches all points on each frame, there and back. Asked for: the
whole takes at most 1.5 times the CPU time of extraction alone, the same matcher's `extract` of the same frames.

The plain loop is what one writes by hand for it: the backbone (no detector) runs on every frame, then two nested loops
over query frames and frames sample descriptors, compare them with all cells of a normalised map, and refine the best
cell by the same windowed soft-argmax, there and back. It knows neither batches of points nor geometry; it needs the frames to
have the size that the networks see. `pairs` is `FrameByFrame` with a matcher that only matches pairs of frames.

Frames are crops of 256 x 256 that move over a synthetic texture while a disc hides a part of it, so points have many
different first frames (`first`), or one query on every fifth frame that shows them (`strided`).

What counts is CPU time, of the fastest of each. One thread, because threads that wait for each other burn CPU time on
a busy machine. Runs alternate in one process, each with empty caches.

Run: `python experiments/benchmarks/tracking.py` (four CPU minutes; `--repeats 1` two).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timing import alternating, circumstances
from torch import Tensor

from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.image import Image, fit
from homolog.core.protocols import Correspondence, ImageLike, Matcher
from homolog.core.tracks import Queries, Tracks
from homolog.evaluators.tracking import QueryMode, sample_queries
from homolog.matchers.sparse import SparseMatcher
from homolog.matchers.tracking import FrameByFrame
from homolog.zoo import load_matcher

ASKED = 1.5
"""How many times the CPU time of extraction alone is asked for, at most."""

CYCLE = 8.0
"""Pixels of the cycle check."""

SIZE = 256

PRODUCTS = {
    "mini, head nearest, at 256": ("mini", "head=nearest", "enlarge=false"),
    "xfeat at 512": ("xfeat", "resize=512", "+enlarge=true"),
}
"""Those whose read-out the plain loop repeats."""

OTHERS = ("small", "mini")
"""Products as they are, for which only extraction and tracking are timed."""


@dataclass
class _PairsOnly:
    """A matcher that only matches pairs."""

    matcher: Matcher

    def match(self, image0: ImageLike, image1: ImageLike) -> Correspondence:
        return self.matcher.match(image0, image1)


def main() -> None:
    """Measure and print the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    print(circumstances("torch", "homolog-matchers"))
    print(
        "\n| product | queries | points | extraction CPU s | tracking CPU s | tracking / extraction | plain loop CPU s "
        "| plain loop / tracking | pairs CPU s | pairs / tracking | apart px |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    frames, tracks = _video(options.frames, options.points)
    for product, settings in PRODUCTS.items():
        matcher = load_matcher(*settings, device="cpu")
        assert isinstance(matcher, SparseMatcher)
        for mode in ("first", "strided"):
            print(_row(product, matcher, frames, tracks, mode, options.repeats), flush=True)
    print(
        "\n| product | queries | extraction CPU s | tracking CPU s | tracking / extraction |\n|---|---|---|---|---|"
    )
    for product in OTHERS:
        for mode in ("first", "strided"):
            print(_short_row(product, frames, tracks, mode, options.repeats), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=24, help="of the video (default: 24)")
    parser.add_argument("--points", type=int, default=64, help="to track (default: 64)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser.parse_args()


def _video(count: int, points: int) -> tuple[list[Image], Tracks]:
    """Return frames and true tracks: a window that moves over a texture, and a disc that moves over the window."""
    generator = torch.Generator().manual_seed(0)
    side = SIZE + 4 * count
    octaves = [
        torch.rand(1, 3, side // scale, side // scale, generator=generator) for scale in (4, 8, 16, 32)
    ]
    texture = sum(F.interpolate(each, size=(side, side), mode="bicubic") for each in octaves)
    assert isinstance(texture, Tensor)
    texture = (texture[0] / len(octaves)).clamp(0, 1)
    # So that each point is in the window at some time.
    place = torch.rand(points, 2, generator=generator) * SIZE + 1.5 * count
    grid = pixel_grid((SIZE, SIZE)).reshape(SIZE, SIZE, 2)
    frames, xy, visible = [], [], []
    for t in range(count):
        x, y = 3 * t, 2 * t
        disc = torch.tensor([40.0 + 8 * t, 128.0])
        hidden = (grid - disc).norm(dim=-1) < 48
        pixels = torch.where(hidden, torch.tensor(0.5), texture[:, y : y + SIZE, x : x + SIZE])
        frames.append(Image(pixels=pixels, name=f"frame {t}"))
        xy.append(place - torch.tensor([float(x), float(y)]))
        inside = ((xy[-1] >= 0) & (xy[-1] <= SIZE - 1)).all(dim=1)
        visible.append(inside & ((xy[-1] - disc).norm(dim=1) >= 48))
    return frames, Tracks(
        xy=torch.stack(xy, dim=1),
        visible=torch.stack(visible, dim=1),
        query_frame=torch.zeros(points, dtype=torch.long),
    )


def _row(
    product: str, matcher: SparseMatcher, frames: list[Image], tracks: Tracks, mode: QueryMode, repeats: int
) -> str:
    track, frame = (
        torch.from_numpy(part) for part in sample_queries(tracks.visible.numpy(), query_mode=mode)
    )
    queries = Queries(xy=tracks.xy[track, frame], frame=frame)

    def tracked(given: Matcher) -> Callable[[], Tracks]:
        def run() -> Tracks:
            matcher.forget()
            return FrameByFrame(given, visible_above=None, cycle=CYCLE).track(frames, queries)

        return run

    def extracted() -> object:
        matcher.forget()
        return matcher.extract(frames)

    def plain() -> Tracks:
        return _plain_loop(matcher, frames, queries)

    ours, pairs = tracked(matcher), tracked(_PairsOnly(matcher))
    found = ours()
    apart = 0.0
    for other in (pairs(), plain()):
        both = found.visible & other.visible
        # Rounding decides between two cells that are equally similar to the last bits, and at the threshold.
        if (found.visible == other.visible).float().mean() < 0.99:
            raise RuntimeError("expected the same visible points; do not time this")
        apart = max(apart, float((found.xy - other.xy).norm(dim=-1)[both].quantile(0.99)))
    runs = [min(each) for each in alternating([extracted, ours, plain, pairs], repeats)]
    extraction, whole, loop, pairwise = runs
    over = f" (more than {ASKED})" if whole > ASKED * extraction else ""
    return (
        f"| {product} | {mode} | {len(track)}, {len(frame.unique())} frames | {extraction:.2f} | {whole:.2f} "
        f"| {whole / extraction:.2f}{over} | {loop:.2f} | {loop / whole:.2f} | {pairwise:.2f} | {pairwise / whole:.1f} "
        f"| {apart:.1e} |"
    )


def _short_row(product: str, frames: list[Image], tracks: Tracks, mode: QueryMode, repeats: int) -> str:
    track, frame = (
        torch.from_numpy(part) for part in sample_queries(tracks.visible.numpy(), query_mode=mode)
    )
    queries = Queries(xy=tracks.xy[track, frame], frame=frame)
    matcher: Any = load_matcher(product, device="cpu")

    def extracted() -> None:
        matcher.forget()
        matcher.point_features(frames)

    def tracked() -> None:
        matcher.forget()
        FrameByFrame(matcher, visible_above=None, cycle=CYCLE).track(frames, queries)

    extraction, whole = (min(each) for each in alternating([extracted, tracked], repeats))
    return f"| {product} | {mode} | {extraction:.2f} | {whole:.2f} | {whole / extraction:.2f} |"


@torch.inference_mode()
def _plain_loop(matcher: SparseMatcher, frames: list[Image], queries: Queries) -> Tracks:
    """Track as plainly as it can be written with the same networks and the same read-out."""
    assert matcher.backbone is not None
    assert matcher.descriptor_map is not None
    maps: list[Tensor] = []
    for image in frames:
        resized = fit(image, longer_side=matcher.resize, multiple=matcher.multiple, enlarge=matcher.enlarge)
        maps.append(matcher.backbone(resized.pixels[None, None])[matcher.descriptor_map][0, 0])
    normalised = [F.normalize(each, dim=0) for each in maps]
    xy = queries.xy[:, None].repeat(1, len(frames), 1)
    error = torch.zeros(xy.shape[:2])
    for source in queries.frame.unique().tolist():
        rows = (queries.frame == source).nonzero()[:, 0]
        start = queries.xy[rows]
        for target in range(len(frames)):
            if target == source:
                continue
            there = _found(start, maps[source], normalised[target])
            back = _found(there, maps[target], normalised[source])
            xy[rows, target], error[rows, target] = there, (back - start).norm(dim=1)
    return Tracks(xy=xy, visible=error <= CYCLE, query_frame=queries.frame)


def _found(xy: Tensor, source: Tensor, target: Tensor) -> Tensor:
    cells = (target.shape[1], target.shape[2])
    grid = ((2 * xy + 1) / SIZE - 1)[None, None]
    query = F.grid_sample(source[None], grid, padding_mode="border", align_corners=False)[0, :, 0].T
    cosine = F.normalize(query, dim=1) @ target.flatten(1)
    best = cosine.argmax(dim=1)
    centre = torch.stack((best % cells[1], best // cells[1]), dim=1)
    away = (pixel_grid(cells)[None] - centre[:, None]).abs().amax(dim=-1)
    weight = (cosine / 0.02).masked_fill(away > 1, -torch.inf).softmax(dim=1)
    found = resize_pixel(weight @ pixel_grid(cells), cells, (SIZE, SIZE))
    return found.clamp(0, SIZE - 1)


if __name__ == "__main__":
    main()
