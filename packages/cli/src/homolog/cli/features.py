"""The story of `homolog features`: what a backbone sees in photos, as colours."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homolog.cli.loading import loading
from homolog.cli.outcome import FINE
from homolog.core.errors import ConfigError, did_you_mean
from homolog.zoo.compose import compose, configs_folder

if TYPE_CHECKING:
    import torch

    from homolog.core.image import Image
    from homolog.core.protocols import Backbone

logger = logging.getLogger(__name__)

PICTURE = "features.png"

SIDE = 520
"""Pixels: the longer side of each photo as it is shown."""


def run(arguments: argparse.Namespace) -> int:
    """Show the features of the photos that the command line names.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        HomologError: wrong use, a wrong configuration, or a photo that cannot be read; nothing has been
            written.
    """
    config = _composed(arguments.backbone, arguments.settings, arguments.configs)
    with loading():
        from homolog.cli.figures.features import draw_features, principal_colours
        from homolog.cli.figures.prepare import present_photos
        from homolog.cli.results import check_folder
        from homolog.core.atomic import write_bytes
        from homolog.core.device import choose_device
        from homolog.core.io import read_image

        check_folder(arguments.out)
        images = [read_image(path) for path in arguments.photos]
        backbone = _built(config, choose_device(arguments.device))
    name = _chosen_map(backbone, arguments.map)
    seen = _fitted(images, backbone, longer_side=arguments.resize)
    maps = _extracted(backbone, seen, name)
    colours = principal_colours([map_.numpy() for map_ in maps])
    meaning = _meaning(len(maps[0]), len(maps), colours.explained)
    photos, names = present_photos(images, longer_side=SIDE)
    title = f"{arguments.backbone}: {name}"
    picture = draw_features(photos, colours.maps, names=names, title=title, subtitle=meaning)
    write_bytes(arguments.out / PICTURE, picture)
    print(f"{name}: {meaning}")
    print(f"the picture is {arguments.out / PICTURE}")
    return FINE


def _composed(name: str, settings: Sequence[str], configs: Path | None) -> dict[str, Any]:
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
        return list(backbone.channels)[-1]
    if name not in backbone.channels:
        raise ConfigError(f"the backbone has no map {name}{did_you_mean(name, backbone.channels)}")
    return name


def _fitted(images: "Sequence[Image]", backbone: "Backbone", *, longer_side: int) -> "list[Image]":
    """Bring photos to sizes that the backbone takes: to one size if it sees them together."""
    from homolog.core.image import fit, fitted_size, resize

    if not backbone.joint:
        return [fit(image, longer_side=longer_side, multiple=backbone.multiple) for image in images]
    # The mean, so that no photo is squeezed more than the others.
    sizes = [fitted_size(image.size, longer_side=longer_side) for image in images]
    height, width = (round(sum(sides) / len(sizes)) for sides in zip(*sizes, strict=True))
    size = fitted_size((height, width), multiple=backbone.multiple)
    return [resize(image, size) for image in images]


def _extracted(backbone: "Backbone", seen: "Sequence[Image]", name: str) -> "list[torch.Tensor]":
    """Return the map [C h w] of each photo, on the CPU; a joint backbone sees all as views of one scene."""
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
        return "the only channel, as it is: the brighter, the higher"
    common = "" if photos == 1 else f", across the {photos} photos"
    return (
        f"similar colours are similar features{common}; 3 of {channels} directions hold {explained:.0%} of the "
        "variance"
    )
