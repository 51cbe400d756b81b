"""`homolog features`: show the features of a backbone as colours."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homolog.cli.commands._shared import add_options, add_words, positive, split_photos
from homolog.cli.console import FINE, loading
from homolog.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import torch

    from homolog.core.image import Image
    from homolog.core.protocols import Backbone

HELP = "show the features of a backbone as colours"

USAGE = "homolog features PHOTO [PHOTO ...] backbone=NAME [KEY=VALUE ...] [options]"

EXAMPLES = """\
examples:
  homolog features a.jpg backbone=dinov2_s
      one photo and its features
  homolog features a.jpg b.jpg c.jpg backbone=efficientnet_lite0 --map blocks.2
      several photos in common colours, and another feature map
  homolog features a.jpg b.jpg backbone=mini backbone.grid=xfeat --resize 1024
      change settings of the backbone, and the size of the photos
  homolog list
      lists the backbones

A principal component analysis over all photos reduces the channels of a map to red, green and blue. Parts
of the same colour have similar features, within a photo and between photos. The colours change with the
photos, the map and the backbone.

output: OUT/features.png, and the fraction of the variance that the three colours explain
"""

logger = logging.getLogger(__name__)

PICTURE = "features.png"

SIDE = 520
"""Pixels: the longer side of each photo in the picture."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_words(parser)
    parser.add_argument(
        "--map",
        metavar="NAME",
        help="feature map (default: the one with the most channels, of several the last)",
    )
    parser.add_argument(
        "--resize",
        type=positive(int),
        default=640,
        metavar="PIXELS",
        help="scale larger photos down to this longer side (default: %(default)s)",
    )
    add_options(parser, "out", "device", "configs")


def run(arguments: argparse.Namespace) -> int:
    """Draw the features of some photos.

    Raises:
        HomologError: wrong arguments, a wrong configuration, or a photo that cannot be read; nothing was
            written.
    """
    photos, settings = split_photos(arguments.words)
    chosen = [setting for setting in settings if setting.startswith("backbone=")]
    if not photos or len(chosen) != 1:
        raise ConfigError(
            f"expected photos and one backbone=NAME, got {len(photos)} photos and "
            f"{' '.join(chosen) or 'no backbone'}; for example a.jpg b.jpg backbone=small"
        )
    settings.remove(chosen[0])
    product = chosen[0].partition("=")[2]
    config = _composed(product, settings, arguments.configs)
    with loading():
        from homolog.cli.figures.features import draw_features, principal_colours
        from homolog.cli.figures.prepare import present_photos
        from homolog.cli.results import check_folder
        from homolog.core.atomic import write_bytes
        from homolog.core.device import choose_device
        from homolog.core.io import read_image

        check_folder(arguments.out)
        images = [read_image(path) for path in photos]
        backbone = _built(config, choose_device(arguments.device))
    name = _chosen_map(backbone, arguments.map)
    seen = _fitted(images, backbone, longer_side=arguments.resize)
    maps = _extracted(backbone, seen, name)
    colours = principal_colours([map_.numpy() for map_ in maps])
    meaning = _meaning(len(maps[0]), len(maps), colours.explained)
    photos_shown, names = present_photos(images, longer_side=SIDE)
    title = f"{product}: {name}"
    picture = draw_features(photos_shown, colours.maps, names=names, title=title, subtitle=meaning)
    write_bytes(arguments.out / PICTURE, picture)
    print(f"{name}: {meaning}")
    print(f"saved {arguments.out / PICTURE}")
    return FINE


def _composed(name: str, settings: Sequence[str], configs: Path | None) -> dict[str, Any]:
    from homolog.zoo.compose import compose, configs_folder

    known = sorted(file.stem for file in (configs_folder(configs) / "backbone").glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"no backbone named {name!r}{did_you_mean(name, known)}")
    return compose(f"backbone/{name}", settings, configs=configs)["backbone"]


def _built(config: dict[str, Any], device: "torch.device") -> "Backbone":
    from torch import nn

    from homolog.core.protocols import Backbone
    from homolog.zoo.build import build
    from homolog.zoo.catalogue import untrained

    if parts := untrained(config, "backbone"):
        logger.warning(
            "untrained: %s; random weights give meaningless colours, name weights as PART.checkpoint=FILE",
            ", ".join(dict.fromkeys(parts)),
        )
    backbone = build(config)
    if not isinstance(backbone, Backbone):
        raise ConfigError(f"expected the configuration of a backbone, got one of {type(backbone).__name__}")
    if isinstance(backbone, nn.Module):
        backbone.eval().to(device)
    return backbone


def _chosen_map(backbone: "Backbone", name: str | None) -> str:
    if name is None:
        return max(reversed(backbone.channels), key=lambda name: backbone.channels[name])
    if name not in backbone.channels:
        raise ConfigError(f"the backbone has no map {name}{did_you_mean(name, backbone.channels)}")
    return name


def _fitted(images: "Sequence[Image]", backbone: "Backbone", *, longer_side: int) -> "list[Image]":
    """Resize photos to sizes that the backbone accepts: to a common size if it is joint."""
    from homolog.core.image import fit, fitted_size, resize

    if not backbone.joint:
        return [fit(image, longer_side=longer_side, multiple=backbone.multiple) for image in images]
    # The mean, so that no photo is squeezed more than the others.
    sizes = [fitted_size(image.size, longer_side=longer_side) for image in images]
    height, width = (round(sum(sides) / len(sizes)) for sides in zip(*sizes, strict=True))
    size = fitted_size((height, width), multiple=backbone.multiple)
    return [resize(image, size) for image in images]


def _extracted(backbone: "Backbone", seen: "Sequence[Image]", name: str) -> "list[torch.Tensor]":
    """Return the map [C h w] of each photo, on the CPU; a joint backbone takes all as views of one scene."""
    import torch
    from torch import nn

    held = next(backbone.parameters(), None) if isinstance(backbone, nn.Module) else None
    device = torch.device("cpu") if held is None else held.device
    groups = [list(seen)] if backbone.joint else [[image] for image in seen]
    maps: list[torch.Tensor] = []
    with torch.inference_mode():
        for group in groups:
            views = torch.stack([image.pixels for image in group]).to(device)
            maps += backbone(views[None])[name][0].float().cpu().unbind()
    return maps


def _meaning(channels: int, photos: int, explained: float) -> str:
    if channels == 1:
        return "a single channel; brighter is higher"
    common = "" if photos == 1 else f", across the {photos} photos"
    return (
        f"similar colours are similar features{common}; 3 of {channels} components explain {explained:.0%} of "
        "the variance"
    )
