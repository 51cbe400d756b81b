"""Count the work of a training step of each full-size recipe: hours at a stated utilisation, and memory.

    python experiments/benchmarks/training_flops.py [--recipe NAME ...] [--utilisation 0.4]

The recipe's own matcher, at its size, with what its stage trains, of fake tensors: nothing is computed and no
weights are needed. Torch counts 2 operations per multiply-add of matrix products, convolutions and attention;
what gradient checkpointing computes again is counted again, frozen parts go forward only. Not counted: making
and reading the data, the search for keypoints after the detector's network, Sinkhorn's exponentials, norms,
samplings, the optimiser, and losses, except for the networks that they run (the encoder of the dense recipe).

Memory is what has to be held at once at least: weights, gradients and AdamW's two moments (`state`), and what
autograd saves for the backward pass of a batch (`saved`), each storage once, under the stage's precision.
"""

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from homolog.backbones.dift import Noise
from homolog.backbones.superpoint import gray
from homolog.core.dense import DenseField
from homolog.core.features import Features
from homolog.heads.guided_matcher import PaddedKeypoints
from homolog.training.batch import PairBatch
from homolog.training.objectives.base import Step
from homolog.training.recipe import Recipe
from homolog.training.stage import Stage, freeze
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose

Shape = tuple[int, ...]

RECIPES = ("vggt_semantic", "matcha", "omniglue", "semidense_splat")

DEVICES = {"A100": 312.0, "H100, H200": 989.0}
"""Matrix products in bfloat16 without sparsity, TFLOP/s, as NVIDIA's data sheets state them."""


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_back(gradient: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


ON_A_CPU: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_back,
}
"""Attention by another name than torch counts; the work is the same."""

COARSE_MATCHES = 1024
"""Of a pair in the fine loss: a quarter of 64 x 64 cells."""


class Work(NamedTuple):
    """Of one pair.

    Attributes:
        forward: operations until the loss.
        total: and of the backward pass.
        saved: bytes for the backward pass, in float32.
    """

    forward: float
    total: float
    saved: int


def loss_of(matcher: Any, recipe: Recipe, stage: Stage) -> Tensor:
    """Return a number that depends on all that the losses of a stage depend on, for one pair."""
    batch = _batch(recipe)
    features: list[Features]
    match recipe.matcher:
        case "vggt_semantic":
            step = Step(wanted=list(stage.losses), generator=torch.Generator(), options=stage.options)
            return sum(recipe.objective(matcher, batch, step).values(), torch.zeros(()))
        case "matcha":
            maps = matcher.backbone(batch.images)
            return maps["semantic"].sum() + maps["geometric"].sum()
        case "omniglue":
            with torch.no_grad():
                for side in (0, 1):
                    matcher.detector.network(gray(batch.images[:, side]))
                features = [matcher.backbone(batch.images[:, side, None]) for side in (0, 1)]
            limit: Any = stage.options.get("keypoints", getattr(recipe.objective, "keypoints", 0))
            sides = [_keypoints(matcher.head.input_dim, each, limit) for each in features]
            assignment = matcher.head.log_assignment(*sides)
            return assignment.sum()
        case "semidense":
            features = [matcher.backbone(batch.images[:, side, None]) for side in (0, 1)]
            tokens0, tokens1 = matcher.head.tokens(*features)
            places = torch.empty(COARSE_MATCHES, 2)
            return (tokens0 @ tokens1.mT).sum() + matcher.head.refine(places, places, *features).sum()
        case _:
            raise ValueError(f"no step is known for {recipe.matcher}")


def measured(matcher: nn.Module, recipe: Recipe, stage: Stage) -> Work:
    """Count one pair of a stage."""
    freeze(matcher, stage.trainable)
    kept: dict[int, int] = {}
    # Weights are there anyway.
    own = {_key(tensor) for tensor in (*matcher.parameters(), *matcher.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        if _key(tensor) not in own:
            kept[_key(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False, custom_mapping=ON_A_CPU) as counter:
        mixed = torch.autocast("cpu", torch.bfloat16, enabled=stage.precision == "bf16-mixed")
        with mixed, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = loss_of(matcher, recipe, stage)
        forward, saved = counter.get_total_flops(), sum(kept.values())
        loss.backward()
    return Work(forward, counter.get_total_flops(), saved)


def whole(name: str) -> tuple[nn.Module, Recipe]:
    """Build a recipe and its matcher without weights and without memory."""
    config = _untrained(resolved(compose("train", [f"recipe={name}"])))
    # Some parts ask for numbers when they are built, which fake tensors do not have; on meta they do.
    with torch.device("meta"):
        recipe = build(config)
        matcher = build(_untrained(compose("match", [f"matcher={recipe.matcher}", *recipe.settings])))
    return matcher, recipe


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description="Count the work of a training step of each full-size recipe."
    )
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--utilisation", type=float, default=0.4)
    chosen = parser.parse_args()
    print(f"torch {torch.__version__}; utilisation {chosen.utilisation:g} of {DEVICES} TFLOP/s")
    print(f"{'recipe, stage':28} {'TFLOP a pair':>12} {'forward':>8} {'pairs, M':>9} {'PFLOP':>9} ", end="")
    print(" ".join(f"{name + ' h':>12}" for name in DEVICES), f"{'state GB':>9} {'saved GB':>9}")
    for name in chosen.recipe:
        total = 0.0
        matcher, recipe = whole(name)
        with FakeTensorMode(allow_non_fake_inputs=True), _without_numbers():
            for part in (matcher, recipe.objective):
                _fake(part)
            for stage_name, stage in recipe.stages.items():
                work = measured(matcher, recipe, stage)
                pairs = stage.steps * stage.batch * stage.accumulate
                total += _row(f"{name}, {stage_name}", matcher, work, stage.batch, pairs, chosen.utilisation)
        if len(recipe.stages) > 1:
            hours = " ".join(
                f"{_hours(total, speed, chosen.utilisation):12.1f}" for speed in DEVICES.values()
            )
            print(f"{name + ', all':28} {'':12} {'':8} {'':9} {total / 1e15:9.0f} {hours}")


def _row(title: str, matcher: nn.Module, work: Work, batch: int, pairs: int, utilisation: float) -> float:
    learning = sum(each.numel() for each in matcher.parameters() if each.requires_grad)
    state = 4 * (sum(each.numel() for each in matcher.parameters()) + 3 * learning)
    total = work.total * pairs
    hours = " ".join(f"{_hours(total, speed, utilisation):12.1f}" for speed in DEVICES.values())
    print(
        f"{title:28} {work.total / 1e12:12.3f} {work.forward / 1e12:8.3f} {pairs / 1e6:9.2f} {total / 1e15:9.0f} "
        f"{hours} {state / 1e9:9.2f} {work.saved * batch / 1e9:9.2f}"
    )
    return total


def _hours(operations: float, speed: float, utilisation: float) -> float:
    return operations / (speed * 1e12 * utilisation) / 3600


def _batch(recipe: Recipe) -> PairBatch:
    height, width = recipe.image_size
    field = DenseField(grid=torch.empty(1, 2, height, width), confidence=torch.empty(1, height, width))
    mask = torch.empty(1, height, width, dtype=torch.bool)
    return PairBatch(
        images=torch.empty(1, 2, 3, height, width),
        field0=field,
        field1=field,
        xy0=torch.empty(1, 16, 2),
        xy1=torch.empty(1, 16, 2),
        visible=torch.empty(1, 16, dtype=torch.bool),
        mask0=mask,
        mask1=mask,
        samples=(),
    )


def _keypoints(channels: int, features: Features, count: int) -> PaddedKeypoints:
    guidance = next(iter(features.maps.values())).shape[2]
    return PaddedKeypoints(
        place=torch.empty(1, count, 2),
        score=torch.empty(1, count),
        descriptor=torch.empty(1, count, channels),
        guidance=torch.empty(1, count, guidance),
        valid=None,
    )


def _untrained(node: Any) -> Any:
    """Leave weights out: only shapes count."""
    if isinstance(node, list):
        return [_untrained(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: None if str(key).endswith("checkpoint") else _untrained(value) for key, value in node.items()
    }


@contextmanager
def _without_numbers() -> Generator[None]:
    """Replace two cheap steps that look at numbers: which noise meets an image, and whom keypoints listen to."""
    with (
        patch("homolog.backbones.dift.seeded_noise", _noise),
        patch("homolog.heads.guided_matcher.guided_edges", _edges),
    ):
        yield


def _noise(images: Tensor, *, seed: int, members: int, channels: int, size: tuple[int, int]) -> Noise:
    del seed
    drawn = torch.empty(len(images), members, channels, *size)
    return Noise(posterior=drawn, diffusion=drawn)


def _edges(guidance0: Tensor, guidance1: Tensor, **_: object) -> tuple[Tensor, Tensor]:
    batch, rows, columns = len(guidance0), guidance0.shape[1], guidance1.shape[1]
    return (
        torch.empty(batch, rows, columns, dtype=torch.bool),
        torch.empty(batch, columns, rows, dtype=torch.bool),
    )


def _fake(module: object) -> None:
    """Bring everything from the meta device to a CPU that does not compute."""
    for part in module.modules() if isinstance(module, nn.Module) else ():
        for name, weight in list(part.named_parameters(recurse=False)):
            fake = torch.empty(weight.shape, dtype=weight.dtype)
            setattr(part, name, nn.Parameter(fake, requires_grad=weight.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype))
        # A plain tensor of diffusers' scheduler, which is neither.
        scheduler = getattr(part, "scheduler", None)
        if scheduler is not None:
            scheduler.alphas_cumprod = torch.empty(scheduler.alphas_cumprod.shape)


def _key(tensor: Tensor) -> int:
    return StorageWeakRef(tensor.untyped_storage()).cdata


if __name__ == "__main__":
    main()
