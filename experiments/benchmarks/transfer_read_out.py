"""What does it cost to transfer ten points, against comparing every cell of one image with every cell of the other?

Official semantic codes (GeoAware-SC, sd-dino) compute all cosines of two 60 x 60 maps and a windowed
soft-argmax for all 3600 rows, and then read the rows of the annotated points. homolog compares the rows of
the asked points only. Both start from the same maps of 768 channels, compare by cosine, and refine the best
cell by the softmax of its surroundings (same window, same temperature, cells beyond the window take no part).
Points are at centres of cells, the only places that all rows know.

Two comparisons, each of equals: places alone (`locate`), and places with the confidence that
`Nearest.transfer` gives, for which all rows are also followed back from where they lead.

What counts is CPU time, of the fastest run of each, and that answers agree to 0.01 px of an image of 840 px.
One thread, because threads that wait for each other burn CPU time on a busy machine. Runs alternate in one
process; the matrices of one run push the maps out of the caches before the next, as the pairs of a data set do.

Run: `python experiments/benchmarks/transfer_read_out.py` (a minute).
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timing import alternating, circumstances
from torch import Tensor

from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.features import Features
from homolog.heads.nearest import Nearest
from homolog.heads.read_out import locate

ASKED = 100
"""How many times less CPU time is asked for."""

TOLERANCE = 0.01
"""Pixels by which places may differ."""

Answer = tuple[Tensor, Tensor | None]
"""Places, and confidence where it was asked for."""


class _Whole(NamedTuple):
    """All cosines, which of them are in the window of their row, and the place of every row in cells."""

    cosine: Tensor
    near: Tensor
    places: Tensor


def main() -> None:
    """Measure and print the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    print(circumstances("torch", "homolog-heads"))
    print("\n| what | window | all rows CPU ms | asked rows CPU ms | all / asked | apart px |")
    print("|---|---|---|---|---|---|")
    for window in options.windows:
        print("\n".join(_rows(window, options)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=60, help="along each side of a map (default: 60)")
    parser.add_argument("--channels", type=int, default=768, help="of the maps (default: 768)")
    parser.add_argument("--points", type=int, default=10, help="to transfer (default: 10)")
    parser.add_argument("--image", type=int, default=840, help="side of the images in px (default: 840)")
    parser.add_argument(
        "--windows", type=int, nargs="+", default=[3, 15], help="sides of the window (default: 3 15)"
    )
    parser.add_argument("--temperature", type=float, default=0.02, help="of the softmax (default: 0.02)")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each (default: 15)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser.parse_args()


@torch.inference_mode()
def _rows(window: int, options: argparse.Namespace) -> list[str]:
    map0, map1 = _maps(options.cells, options.channels)
    cells, size = (options.cells, options.cells), (options.image, options.image)
    features0, features1 = (
        Features(maps={"map": each[None, None]}, image_size=size) for each in (map0, map1)
    )
    asked = torch.randperm(options.cells**2, generator=torch.Generator().manual_seed(1))[: options.points]
    xy0 = resize_pixel(pixel_grid(cells)[asked], cells, size)
    settings: dict[str, Any] = {"window": window, "temperature": options.temperature}
    head = Nearest(window=window, temperature=options.temperature)

    def matrix() -> Answer:
        found = _whole_matrix(map0.flatten(1), map1, **settings).places
        return resize_pixel(found[asked], cells, size), None

    def located() -> Answer:
        return resize_pixel(locate(features0.at("map", xy0), map1, **settings).xy, cells, size), None

    def matrices() -> Answer:
        there = _whole_matrix(map0.flatten(1), map1, **settings)
        middle = resize_pixel(there.places, cells, size)
        again = _whole_matrix(features1.at("map", middle).T, map0, **settings).places
        astray = (again - pixel_grid(cells)).square().sum(dim=1)
        return middle[asked], (_concentration(there, options.temperature) / (1 + astray))[asked]

    def transferred() -> Answer:
        return head.transfer(xy0, features0, features1)

    return [
        _compared("places", window, matrix, located, options.repeats),
        _compared("places and confidence", window, matrices, transferred, options.repeats),
    ]


def _compared(
    what: str, window: int, plain: Callable[[], Answer], ours: Callable[[], Answer], repeats: int
) -> str:
    (places, sure), (found, as_sure) = plain(), ours()
    apart = float((places - found).norm(dim=1).max())
    # Rounding decides where the way back ends when two cells are equally near to the last bits.
    equal = sure is None or as_sure is None or float(((sure - as_sure).abs() < 1e-3).float().mean()) >= 0.8
    if apart > TOLERANCE or not equal:
        raise RuntimeError(
            f"expected the same answers, got places {apart:.3g} px apart (at most {TOLERANCE}), "
            f"confidence {'equal' if equal else 'different'}; do not time this"
        )
    # The least milliseconds: what else the machine does can only add to them.
    whole, asked = (1000 * min(each) for each in alternating([plain, ours], repeats))
    short = "" if whole >= ASKED * asked else f" (less than {ASKED})"
    return f"| {what} | {window} | {whole:.0f} | {asked:.2f} | {whole / asked:.0f}{short} | {apart:.1e} |"


def _maps(cells: int, channels: int) -> tuple[Tensor, Tensor]:
    """Return two smooth maps, the second one the first shifted by three columns, with noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, channels, cells // 4, cells // 4, generator=generator)
    first = F.interpolate(coarse, size=(cells, cells), mode="bilinear", align_corners=False)[0]
    noise = torch.randn(first.shape, generator=generator)
    return first, first.roll(3, dims=2) + 0.3 * noise


def _whole_matrix(descriptors: Tensor, map_: Tensor, *, window: int, temperature: float) -> _Whole:
    """Find all descriptors [D N] on a map [D h w], written out as plainly as it is defined."""
    height, width = map_.shape[1:]
    every0, every1 = F.normalize(descriptors, dim=0), F.normalize(map_.flatten(1), dim=0)
    cosine = every0.T @ every1  # 3600 x 3600
    best = cosine.argmax(dim=1)
    x, y = torch.arange(width), torch.arange(height)
    near_x = (x - (best % width)[:, None]).abs() <= window // 2
    near_y = (y - (best // width)[:, None]).abs() <= window // 2
    near = (near_y[:, :, None] & near_x[:, None, :]).flatten(1)
    share = (cosine.masked_fill(~near, -torch.inf) / temperature).softmax(dim=1)
    return _Whole(cosine, near, share @ pixel_grid((height, width)))


def _concentration(whole: _Whole, temperature: float) -> Tensor:
    """Return the share of each row's softmax that falls into its window."""
    return ((whole.cosine / temperature).softmax(dim=1) * whole.near).sum(dim=1)


if __name__ == "__main__":
    main()
