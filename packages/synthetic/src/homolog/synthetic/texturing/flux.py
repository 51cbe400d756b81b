"""The texturer of the main seed: FLUX, held in place by ControlNets for edges and depth, through diffusers.

FLUX.1-dev's weights are gated, and its licence ("FLUX.1 [dev] Non-Commercial License", as its page had it)
does not allow commercial use of the model; ControlNets trained on it have terms of their own. Read them before you
make a data set. Nothing is fetched here: folders are given, or a configuration names
`homolog.core.hub.fetch_folder` in their place.
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

from homolog.core.atomic import write_bytes
from homolog.core.coords import Size
from homolog.core.device import choose_device
from homolog.core.errors import ConfigError, MissingDependencyError, WeightsError
from homolog.core.fetch import file_hash
from homolog.core.hub import recorded_hashes
from homolog.synthetic.texturing.texturers import Conditioning

# ==== picture_cache: """Pictures that cannot be made again bit by bit, kept as files.
#
# A generator on an accelerator may give another picture tomorrow. A file is addressed by everything that went
# into the picture, so that a data set that is made twice is the same twice.
# """


class PictureCache:
    """A folder of PNG files, two levels deep."""

    def __init__(self, root: str | Path) -> None:
        """Name the folder; it is made when the first picture is kept."""
        self._root = Path(root).expanduser()

    def path(self, address: Mapping[str, Any]) -> Path:
        """Return where the picture of an address is kept.

        Args:
            address: everything that decides the picture, as JSON has it.
        """
        digest = hashlib.sha256(json.dumps(address, sort_keys=True).encode()).hexdigest()
        return self._root / digest[:2] / f"{digest}.png"

    def find(
        self, address: Mapping[str, Any], make: Callable[[], UInt8[np.ndarray, "H W 3"]]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Return the picture that was kept, or make and keep it; a damaged file counts as none.

        Raises:
            DataError: the folder cannot be written to.
        """
        path = self.path(address)
        kept = _read(path)
        if kept is not None:
            return kept
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


def _read(path: Path) -> UInt8[np.ndarray, "H W 3"] | None:
    try:
        with PILImage.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


# ==== flux_texturer: """The texturer of the main seed: FLUX, held in place by ControlNets for edges and depth, through diffusers.
#
# FLUX.1-dev's weights are gated, and its licence ("FLUX.1 [dev] Non-Commercial License", as its page had it)
# does not allow commercial use of the model; ControlNets trained on it have terms of their own. Read them before you
# make a data set. Nothing is fetched here: folders are given, or a configuration names
# `homolog.core.hub.fetch_folder` in their place.
# """

MULTIPLE = 16
"""Sides of what FLUX makes: its autoencoder shrinks 8 times, and 2 x 2 of the result are a token."""

_UNFIT = (OSError, ValueError, TypeError, KeyError, RuntimeError)
"""What diffusers raises for a folder that holds something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How strongly one map holds the picture.

    Attributes:
        scale: factor on what its ControlNet adds.
        end: share of the steps, from the first one on, in which it does.
        mode: number of this kind of map for a union ControlNet, None for one that knows one kind only. In
            InstantX's union, edges are 0 and depth is 2.
    """

    scale: float = 0.6
    end: float = 0.8
    mode: int | None = None


class FluxTexturer:
    """A `Texturer`. Contours come out a few pixels off: give up labels beside them (`erosion`)."""

    def __init__(
        self,
        *,
        checkpoint: str | Path,
        controlnets: Sequence[str | Path],
        edges: Control | None = None,
        depth: Control | None = None,
        steps: int = 28,
        guidance: float = 3.5,
        longest: int = 1024,
        tokens: int = 512,
        low: float = 0.1,
        high: float = 0.2,
        device: str = "auto",
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        offload: bool = False,
        cache: str | Path | None = None,
    ) -> None:
        """Choose the model; its weights are read for the first picture.

        Args:
            checkpoint: folder of the model as diffusers writes it, with its text encoders.
            controlnets: folders of two ControlNets, for edges and for depth, or of one union ControlNet.
            edges: how the edges are used.
            depth: how the depth is used.
            steps: of the sampler.
            guidance: strength of the prompt that the distilled model was trained with.
            longest: longer side of the picture that is generated, which is then resized.
            tokens: of the prompt, at most.
            low: threshold of the edges (Canny).
            high: threshold of the edges.
            device: where it runs (`homolog.core.device.choose_device`).
            dtype: of the weights.
            offload: keep on the device only what is at work; needs the package accelerate.
            cache: folder of finished pictures, addressed by weights, prompt, seed, maps and settings; None
                keeps none. An accelerator may not make the same picture twice, so have one.

        Raises:
            ConfigError: settings that do not go together.
            WeightsError: a folder that is not there or holds something else.
        """
        edges, depth = edges or Control(), depth or Control()
        if len(controlnets) not in (1, 2) or steps < 1 or longest < MULTIPLE:
            raise ConfigError(
                "FLUX: expected two ControlNets or one union, at least one step, and a side of at least "
                f"{MULTIPLE}, got {len(controlnets)}, {steps}, {longest}"
            )
        if len(controlnets) == 1 and (edges.mode is None or depth.mode is None):
            raise ConfigError(
                "FLUX: a union ControlNet needs the numbers of its maps; set edges.mode and depth.mode as its "
                "page says"
            )
        self._checkpoint = _folder(checkpoint, "model_index.json", "Flux")
        self._controlnets = tuple(_folder(path, "config.json", "FluxControlNet") for path in controlnets)
        self._controls = (edges, depth)
        self._steps, self._guidance, self._longest, self._tokens = steps, guidance, longest, tokens
        self._low, self._high = low, high
        self._device, self._dtype, self._offload = device, dtype, offload
        self._cache = None if cache is None else PictureCache(cache)
        self._pipeline: Any = None
        self._weights: str | None = None

    def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> UInt8[np.ndarray, "H W 3"]:
        """Return what FLUX makes of the edges and the depth of a view.

        Raises:
            MissingDependencyError: diffusers, transformers or kornia is not installed.
            WeightsError: the folders hold no such model.
        """
        large = conditioning.resized(_generated(conditioning.size, self._longest))
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
                # union is one, and then drops the second map without a word.
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
        """Leave the networks behind: a worker reads its own."""
        return {**self.__dict__, "_pipeline": None}


def _generated(size: Size, longest: int) -> Size:
    """Return sides that FLUX can make, the longer one about `longest`."""
    height, width = (max(MULTIPLE, round(side * longest / max(size) / MULTIPLE) * MULTIPLE) for side in size)
    return height, width


def _folder(path: str | Path, file: str, kind: str) -> Path:
    """Return a folder after a look at what it says it holds: the class named in `file` begins with `kind`."""
    folder = Path(path).expanduser()
    try:
        name = str(json.loads((folder / file).read_text()).get("_class_name"))
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"FLUX: expected {folder} to be a folder as diffusers writes it, with {file}; download the model to it, "
            "or name homolog.core.hub.fetch_folder in its place"
        ) from error
    if not name.startswith(kind):
        raise WeightsError(f"FLUX: expected {folder / file} to name a class {kind}..., got {name}")
    return folder


def _digest(folder: Path) -> str:
    """Return a hash of the weights in a folder; those that were fetched have theirs on record."""
    hashes = recorded_hashes(folder) or {
        str(path.relative_to(folder)): file_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".safetensors", ".json"}
    }
    return digest_of_pictures(np.frombuffer(json.dumps(hashes, sort_keys=True).encode(), np.uint8))


def _network(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Read one network, and refuse what diffusers only warns of: weights that are not there stay random."""
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
        # The pipeline cannot be imported without transformers, and then says so in other words.
        importlib.import_module("transformers")
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[flux]", "FLUX") from error
