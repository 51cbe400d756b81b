"""Convolutional networks of timm, as sources of maps at several strides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.weights import load_state, restore


class ConvNet(nn.Module):
    """Maps of the stages of one of timm's convolutional networks, named `stride.2`, `stride.4` and so on.

    Stages after the last one that is read are not built.
    """

    joint = False

    def __init__(
        self,
        *,
        model: str,
        strides: Sequence[int],
        architecture: Mapping[str, Any] | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Build the network.

        Args:
            model: as timm names it: `resnet18`, `convnext_tiny`.
            strides: which maps to return, in pixels.
            architecture: further arguments of timm's model.
            checkpoint: timm's file of weights, or this backbone's `state_dict`; None leaves them random.

        Raises:
            ConfigError: timm has no such model, or the model no such stride.
            WeightsError: the file does not fit.
        """
        super().__init__()
        try:
            with torch.device("meta"):
                every: Any = timm.create_model(model, features_only=True, **dict(architecture or {}))
        except RuntimeError as error:
            raise ConfigError(
                f"ConvNet: expected a model of timm with feature maps, got {model}: {error}"
            ) from error
        there: list[int] = list(every.feature_info.reduction())
        if not strides or not set(strides) <= set(there):
            raise ConfigError(f"ConvNet: expected strides among {there} for {model}, got {list(strides)}")
        levels = [index for index, stride in enumerate(there) if stride in strides]
        network: Any = timm.create_model(
            model, features_only=True, out_indices=levels, **dict(architecture or {})
        )
        self.network: nn.Module = network
        self.multiple = max(strides)
        self.channels: dict[str, int] = dict(
            zip((f"stride.{there[level]}" for level in levels), network.feature_info.channels(), strict=True)
        )
        for name in ("mean", "std"):
            values = torch.tensor(network.default_cfg[name]).view(3, 1, 1)
            self.register_buffer(f"_{name}", values, persistent=False)
        if checkpoint is not None:
            # Its own `state_dict`, as training exports it, has one more level.
            state = {key.removeprefix("network."): value for key, value in load_state(checkpoint).items()}
            own = self.network.state_dict()
            # What the file has beyond the last stage that is read (later stages, the classifier) is left out.
            restore(
                self.network,
                {key: value for key, value in state.items() if key in own},
                name=f"{model} from {checkpoint.name}",
            )
        self.eval()

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] to the chosen maps.

        Raises:
            ShapeError: the image's sides are no multiples of the largest stride.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="ConvNet")
        dtype = next(self.network.parameters()).dtype
        flat = ((images.flatten(0, 1) - self.get_buffer("_mean")) / self.get_buffer("_std")).to(dtype)
        maps = {
            name: map_.unflatten(0, images.shape[:2])
            for name, map_ in zip(self.channels, self.network(flat), strict=True)
        }
        return Features(maps=maps, image_size=size)
