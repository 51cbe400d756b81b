"""FLUX with ControlNets for edges and depth, through diffusers, as a texturer.

FLUX.1-dev's weights are gated, and its licence ("FLUX.1 [dev] Non-Commercial License", as its page had it)
does not allow commercial use of the model; ControlNets trained on it have terms of their own. Read them before you
make a data set. Nothing is downloaded here: give folders, or name `homolog.zoo.sources.fetch_folder` in the
configuration.

An accelerator may not make the same picture twice. Finished pictures can be cached under everything that
went into them, so that a data set that is made twice is the same twice.
"""

import hashlib
import importlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image as PILImage

from homolog.core.atomic import file_hash, write_bytes
from homolog.core.coords import Size
from homolog.core.device import choose_device
from homolog.core.errors import ConfigError, MissingDependencyError, WeightsError
from homolog.synthetic.texturing.texturers import Conditioning


class PictureCache:
    """A folder of PNG files, two levels deep."""

    def __init__(self, root: str | Path) -> None:
        """Choose the folder; it is created with the first picture."""
        self._root = Path(root).expanduser()

    def find(
        self, address: Mapping[str, Any], make: Callable[[], UInt8[np.ndarray, "H W 3"]]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Return the picture cached under everything that decides it, or make it; a damaged file is made again.

        Raises:
            DataError: the folder cannot be written to.
        """
        digest = hashlib.sha256(json.dumps(address, sort_keys=True).encode()).hexdigest()
        path = self._root / digest[:2] / f"{digest}.png"
        try:
            with PILImage.open(path) as kept:
                return np.asarray(kept.convert("RGB"))
        except (OSError, SyntaxError, ValueError):
            picture = make()
        file = io.BytesIO()
        PILImage.fromarray(picture).save(file, "PNG")
        write_bytes(path, file.getvalue())
        return picture


def digest_of_pictures(*pictures: np.ndarray) -> str:
    """Return a hash of arrays: their values, types and shapes."""
    made = hashlib.sha256()
    for picture in pictures:
        made.update(f"{picture.dtype} {picture.shape}".encode())
        made.update(np.ascontiguousarray(picture).tobytes())
    return made.hexdigest()


MULTIPLE = 16
"""FLUX makes sides of multiples of this: its autoencoder shrinks 8 times, and a token is 2 x 2 of the result."""

_UNFIT = (OSError, ValueError, TypeError, KeyError, RuntimeError)
"""What diffusers raises for a folder with other content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How strongly one map conditions the picture.

    Attributes:
        scale: factor on the output of its ControlNet.
        end: fraction of the steps, from the first one, in which it is used.
        mode: number of this kind of map for a union ControlNet, None for a ControlNet of one kind. In
            InstantX's union, edges are 0 and depth is 2.
    """

    scale: float = 0.6
    end: float = 0.8
    mode: int | None = None


class FluxTexturer:
    """FLUX as a `Texturer`. Contours move by a few pixels, so drop the labels near them (`erosion`)."""

    def __init__(
        self,
        *,
        checkpoint: str | Path,
        controlnets: Sequence[str | Path],
        edges: Control | None = None,
        depth: Control | None = None,
        steps: int = 28,
        guidance: float = 3.5,
        longer_side: int = 1024,
        tokens: int = 512,
        low: float = 0.1,
        high: float = 0.2,
        device: str = "auto",
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        offload: bool = False,
        cache: str | Path | None = None,
    ) -> None:
        """Choose the model; its weights are loaded for the first picture.

        Args:
            checkpoint: folder of the model as diffusers writes it, with its text encoders.
            controlnets: folders of two ControlNets, for edges and for depth, or of one union ControlNet.
            edges: how the edges are used.
            depth: how the depth is used.
            steps: of the sampler.
            guidance: strength of the prompt that the distilled model was trained with.
            longer_side: of the generated picture, pixels; the result is resized to the view.
            tokens: of the prompt, at most.
            low: threshold of the edges (Canny).
            high: threshold of the edges.
            device: where it runs (`homolog.core.device.choose_device`).
            dtype: of the weights.
            offload: keep on the device only the network that is running; needs the package accelerate.
            cache: folder of finished pictures, addressed by weights, prompt, seed, maps and settings; None
                caches none. An accelerator may not make the same picture twice, so set one.

        Raises:
            ConfigError: settings that do not fit together.
            WeightsError: a folder is missing or holds something else.
        """
        edges, depth = edges or Control(), depth or Control()
        if len(controlnets) not in (1, 2) or steps < 1 or longer_side < MULTIPLE:
            raise ConfigError(
                "FLUX: expected two ControlNets or one union, at least one step, and a side of at least "
                f"{MULTIPLE}, got {len(controlnets)}, {steps}, {longer_side}"
            )
        if len(controlnets) == 1 and (edges.mode is None or depth.mode is None):
            raise ConfigError(
                "FLUX: a union ControlNet needs the numbers of its maps; set edges.mode and depth.mode as its "
                "page says"
            )
        self._checkpoint = _folder(checkpoint, "model_index.json", "Flux")
        self._controlnets = tuple(_folder(path, "config.json", "FluxControlNet") for path in controlnets)
        self._controls = (edges, depth)
        self._steps, self._guidance, self._longer_side, self._tokens = steps, guidance, longer_side, tokens
        self._low, self._high = low, high
        self._device, self._dtype, self._offload = device, dtype, offload
        self._cache = None if cache is None else PictureCache(cache)
        self._pipeline: Any = None
        self._weights: str | None = None

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return FLUX's picture for the edges and the depth of a view.

        Raises:
            MissingDependencyError: diffusers, transformers or kornia is not installed.
            WeightsError: the folders hold no such model.
        """
        large = conditioning.resized(_generated(conditioning.size, self._longer_side))
        edges = np.where(large.edges(low=self._low, high=self._high), 255, 0).astype(np.uint8)
        nearness = large.nearness()
        if self._cache is None:
            made = self._generate(edges, nearness, prompt, seed)
        else:
            address = self._address(edges, nearness, prompt, seed)
            made = self._cache.find(address, lambda: self._generate(edges, nearness, prompt, seed))
        if large.size == conditioning.size:
            return made
        height, width = conditioning.size
        return np.asarray(PILImage.fromarray(made).resize((width, height), PILImage.Resampling.LANCZOS))

    def _generate(self, edges: np.ndarray, nearness: np.ndarray, prompt: str, seed: int) -> np.ndarray:
        if self._pipeline is None:
            self._pipeline = self._loaded()
        height, width = edges.shape
        with torch.inference_mode():
            result = self._pipeline(
                prompt=prompt,
                control_image=[
                    PILImage.fromarray(np.stack([map_] * 3, axis=-1)) for map_ in (edges, nearness)
                ],
                control_mode=[control.mode for control in self._controls],
                # Always one number per map: the pipeline spreads a single one over its nets, of which a
                # union is one, and then silently drops the second map.
                controlnet_conditioning_scale=[control.scale for control in self._controls],
                control_guidance_start=[0.0, 0.0],
                control_guidance_end=[control.end for control in self._controls],
                height=height,
                width=width,
                num_inference_steps=self._steps,
                guidance_scale=self._guidance,
                max_sequence_length=self._tokens,
                # Noise from the CPU is the same for every device.
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
            )
        return np.rint(np.clip(result.images[0], 0, 1) * np.float32(255)).astype(np.uint8)

    def _loaded(self) -> Any:
        library = _diffusers()
        device, dtype = choose_device(self._device), getattr(torch, self._dtype)
        nets = [_network(library.FluxControlNetModel, path, dtype) for path in self._controlnets]
        transformer = _network(library.FluxTransformer2DModel, self._checkpoint / "transformer", dtype)
        vae = _network(library.AutoencoderKL, self._checkpoint / "vae", dtype)
        try:
            pipeline = library.FluxControlNetPipeline.from_pretrained(
                self._checkpoint,
                controlnet=library.FluxMultiControlNetModel(nets),
                transformer=transformer,
                vae=vae,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
            )
        except _UNFIT as error:
            raise _unfit(self._checkpoint, "FLUX", error) from error
        pipeline.set_progress_bar_config(disable=True)
        if self._offload:
            pipeline.enable_model_cpu_offload(device=device)
            return pipeline
        return pipeline.to(device)

    def _address(self, edges: np.ndarray, nearness: np.ndarray, prompt: str, seed: int) -> dict[str, Any]:
        if self._weights is None:
            folders = (self._checkpoint, *self._controlnets)
            self._weights = " ".join(_digest(folder) for folder in folders)
        return {
            "weights": self._weights,
            "prompt": prompt,
            "seed": seed,
            "controls": digest_of_pictures(edges, nearness),
            "settings": [
                [[control.scale, control.end, control.mode] for control in self._controls],
                self._steps,
                self._guidance,
                self._tokens,
                self._dtype,
            ],
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the networks: a worker loads its own."""
        return {**self.__dict__, "_pipeline": None}


def _generated(size: Size, longer_side: int) -> Size:
    """Return sides that FLUX can make, the longer one about `longer_side`."""
    height, width = (
        max(MULTIPLE, round(side * longer_side / max(size) / MULTIPLE) * MULTIPLE) for side in size
    )
    return height, width


def _folder(path: str | Path, file: str, kind: str) -> Path:
    """Return a folder after checking that the class named in `file` begins with `kind`."""
    folder = Path(path).expanduser()
    try:
        name = str(json.loads((folder / file).read_text()).get("_class_name"))
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"FLUX: expected {folder} to be a folder as diffusers writes it, with {file}; download the model to it, "
            "or name homolog.zoo.sources.fetch_folder in its place"
        ) from error
    if not name.startswith(kind):
        raise WeightsError(f"FLUX: expected {folder / file} to name a class {kind}..., got {name}")
    return folder


def _digest(folder: Path) -> str:
    """Return a hash of the weights in a folder; those of fetched folders are on record."""
    record = folder / "homolog.json"
    if record.is_file():
        hashes = json.loads(record.read_text(encoding="utf-8"))["files"]
    else:
        hashes = {
            str(path.relative_to(folder)): file_hash(path)
            for path in sorted(folder.rglob("*"))
            if path.suffix in {".safetensors", ".json"}
        }
    return digest_of_pictures(np.frombuffer(json.dumps(hashes, sort_keys=True).encode(), np.uint8))


def _network(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Load one network, and raise where diffusers only warns: missing weights would stay random."""
    try:
        network, loading = kind.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except _UNFIT as error:
        raise _unfit(folder, kind.__name__, error) from error
    missing = sorted(loading["missing_keys"])
    if missing:
        raise WeightsError(
            f"{folder}: expected the weights of a {kind.__name__}, but {len(missing)} are missing, such as "
            f"{missing[0]}; download the folder again"
        )
    return network


def _unfit(folder: Path, what: str, error: Exception) -> WeightsError:
    return WeightsError(f"{folder}: expected {what} as diffusers writes it, got: {error}")


def _diffusers() -> Any:
    try:
        # Without transformers the import of the pipeline fails with an unrelated message.
        importlib.import_module("transformers")
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[flux]", "FLUX") from error
