"""The prompt's embedding: made once with transformers, read without it."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from homolog.backbones import dift_prompt
from homolog.backbones.dift_prompt import embedding_file, encode_prompt, main, read_embedding
from homolog.core.errors import MissingDependencyError, WeightsError


def test_each_prompt_has_its_own_file_and_the_null_prompt_a_name() -> None:
    files = [embedding_file(Path("model"), prompt) for prompt in ("", "a cat", "a dog", "a/../cat")]
    assert files[0] == Path("model/prompt/null.safetensors")
    assert len(set(files)) == 4
    assert all(file.parent == Path("model/prompt") for file in files)


def test_what_was_kept_is_read_as_float32(tmp_path: Path) -> None:
    embedding = torch.rand(1, 77, 8).half()
    (tmp_path / "prompt").mkdir()
    save_file({"embedding": embedding}, embedding_file(tmp_path, "a cat"))
    assert torch.equal(read_embedding(tmp_path, "a cat"), embedding.float())


def test_without_transformers_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match="pip install transformers"):
        encode_prompt(tmp_path, "a cat")


@pytest.mark.slow
def test_a_prompt_is_encoded_as_the_text_encoder_does_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers", reason="only encoding needs it; see the module")
    words = ["<|startoftext|>", "<|endoftext|>", "c", "a", "t</w>", "a</w>", "ca", "cat</w>"]
    vocabulary = tmp_path / "tokenizer"
    vocabulary.mkdir()
    (vocabulary / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (vocabulary / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    (vocabulary / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 7, "pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer"})
    )
    config = transformers.CLIPTextConfig(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=7,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    encoder = transformers.CLIPTextModel(config).eval()
    encoder.save_pretrained(tmp_path / "text_encoder")
    main(["--checkpoint", str(tmp_path), "--prompt", "a cat"])
    assert capsys.readouterr().out.strip() == str(embedding_file(tmp_path, "a cat"))
    with torch.inference_mode():
        expected = encoder(torch.tensor([[0, 5, 7, 1, 1, 1, 1]]))[0]
    torch.testing.assert_close(read_embedding(tmp_path, "a cat"), expected)


class Encoder:
    """Stands for both classes of transformers; it knows which folder it came from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model_max_length = folder, 7

    @classmethod
    def from_pretrained(cls, folder: Path, **_: object) -> "Encoder":
        assert folder.is_dir()
        return cls(folder)

    def eval(self) -> "Encoder":
        return self

    def __call__(self, given: object, **_: object) -> Any:
        if isinstance(given, Tensor):
            return (given[..., None].expand(-1, -1, 3),)
        return SimpleNamespace(input_ids=torch.full((1, 7), len(str(given)), dtype=torch.int64))


def test_a_folder_without_text_encoder_borrows_a_fetched_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(
        sys.modules, "transformers", SimpleNamespace(CLIPTokenizer=Encoder, CLIPTextModel=Encoder)
    )
    asked: list[tuple[str, str]] = []

    def text_encoder(repository: str, revision: str) -> Path:
        asked.append((repository, revision))
        for file in dift_prompt.TEXT_FILES:
            (tmp_path / "fetched" / file).parent.mkdir(parents=True, exist_ok=True)
        return tmp_path / "fetched"

    monkeypatch.setattr(dift_prompt, "_text_encoder", text_encoder)
    (tmp_path / "model").mkdir()
    main(["--checkpoint", str(tmp_path / "model"), "--prompt", "a cat", "--repository", "some/model"])
    assert asked == [("some/model", "main")]
    assert capsys.readouterr().out.strip() == str(embedding_file(tmp_path / "model", "a cat"))
    assert read_embedding(tmp_path / "model", "a cat").unique().tolist() == [5.0]
    assert not (tmp_path / "fetched" / "prompt").exists()
    main([])
    assert read_embedding(tmp_path / "fetched", "").unique().tolist() == [0.0]


def test_nothing_is_fetched_while_transformers_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr(dift_prompt, "_text_encoder", lambda *_: pytest.fail("fetched"))
    with pytest.raises(MissingDependencyError, match="pip install transformers"):
        main([])


def test_a_folder_without_text_encoder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", sys)  # something importable; it must not be reached
    with pytest.raises(WeightsError, match="text_encoder and tokenizer"):
        encode_prompt(tmp_path, "")
