"""The small dense product learns one warped pair by heart: direction, scale and gradient of the whole are right."""

import math

import pytest
import torch
from skimage import data
from torch import Tensor

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised
from homolog.core.image import Image, crop, resize
from homolog.core.io import as_image
from homolog.core.sampling import warp_maps
from homolog.matchers.dense import DenseMatcher
from homolog.training.stage import freeze
from homolog.zoo import load_matcher

SIZE: Size = (128, 192)
SEEN: Size = (64, 96)
STEPS = 150
RATE = 6e-3


def apply(homography: Tensor, xy: Tensor) -> Tensor:
    at = torch.cat((xy.double(), torch.ones(len(xy), 1, dtype=torch.float64)), dim=1) @ homography.T
    return at[:, :2] / at[:, 2:]


def truth(homography: Tensor) -> Tensor:
    """The grid of an image of SEEN, whose places in the other a homography of pixels of SIZE gives."""
    xy = (pixel_grid(SEEN) + 0.5) * 2 - 0.5
    return pixel_to_normalised(apply(homography, xy), SIZE).T.reshape(1, 2, *SEEN).float()


@pytest.mark.slow
def test_mini_dense_learns_a_known_warp_and_its_inverse_in_both_orders_of_the_pair():
    torch.manual_seed(0)
    # Without the frame of the crop, so that its own pixels are the original.
    photo = Image(pixels=resize(crop(as_image(data.astronaut()), x=0, y=0, size=(340, 510)), SIZE).pixels)
    # The view: turned by 14 degrees, 1.15 times nearer, aside and tilted.
    cosine, sine = math.cos(0.25) / 1.15, math.sin(0.25) / 1.15
    to_photo = torch.tensor(
        [[cosine, -sine, 32.0], [sine, cosine, -8.0], [3e-4, -2e-4, 1]], dtype=torch.float64
    )
    to_view = torch.linalg.inv(to_photo)
    everywhere = pixel_to_normalised(apply(to_photo, pixel_grid(SIZE)), SIZE).T.reshape(1, 2, *SIZE).float()
    view = Image(pixels=warp_maps(photo.pixels[None], everywhere)[0].clamp(0, 1))

    matcher = load_matcher(
        "mini_dense", "resize=96", "backbone.checkpoint=null", "head.checkpoint=null", device="cpu"
    )
    assert isinstance(matcher, DenseMatcher)
    small0, small1 = resize(photo, SEEN).pixels, resize(view, SEEN).pixels
    # Both orders at once: only the content of the views can tell which of the fields is asked for.
    pairs = torch.stack((torch.stack((small0, small1)), torch.stack((small1, small0))))
    grid0, grid1 = truth(to_view), truth(to_photo)
    wanted = torch.cat((grid0, grid1)), torch.cat((grid1, grid0))
    visible = [(grid.abs() <= 1).all(dim=1) for grid in wanted]
    # As in its recipe: the encoder, which has its weights, is left alone; what starts near 0 learns faster.
    learning = freeze(matcher, ["*", "!backbone.aggregator.patch_embed.backbone.*"])
    rates: dict[float, list[torch.nn.Parameter]] = {}
    for name in learning:
        rate = RATE * (5 if name.endswith(".gamma") else 20 if name.endswith("_token") else 1)
        rates.setdefault(rate, []).append(matcher.get_parameter(name))
    optimiser = torch.optim.AdamW([{"params": rates[rate]} for rate in rates], weight_decay=0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, list(rates), total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        fields = matcher.head(matcher.backbone(pairs))
        loss = torch.stack(
            [
                (field.grid - grid).square().sum(dim=1)[seen].mean()
                for field, grid, seen in zip(fields, wanted, visible, strict=True)
            ]
        ).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(matcher.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    matcher.eval()

    # Asked with the originals, twice as large as what the network saw.
    for image0, image1, homography in ((photo, view, to_view), (view, photo, to_photo)):
        found = matcher.match(image0, image1)
        xy0 = pixel_grid(SIZE)
        there = apply(homography, xy0)
        on_image = ((there > 0) & (there < there.new_tensor((SIZE[1] - 1, SIZE[0] - 1)))).all(dim=1)
        assert on_image.float().mean() > 0.6
        error = (found.transfer(xy0).xy - there).norm(dim=1)[on_image]
        print(f"end-point error: {error.mean():.2f} px of {SIZE[1]}")
        cycle = found.cycle_error(xy0)[on_image].median()
        # Observed: 1.1 px and 1.2 px, with another seed 1.3 px and 1.7 px; an untrained head, which says the
        # centre, is off by 61 px and 51 px.
        assert error.mean() < 2
        assert cycle < 2
        # Pixels agree, which no convention of ours can make them: each field warps the other image onto its own.
        onto0 = found.fields[0].resized(SIZE).warp(image1.pixels[None])[0]
        backwards = found.fields[1].resized(SIZE).warp(image1.pixels[None])[0]
        inner = on_image.reshape(SIZE)
        residue, other, before = (
            (pixels - image0.pixels).abs().mean(dim=0)[inner].mean()
            for pixels in (onto0, backwards, image1.pixels)
        )
        print(f"residue {residue:.3f}, through the other field {other:.3f}, unwarped {before:.3f}")
        assert residue < 0.5 * min(other, before)
