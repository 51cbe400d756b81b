"""Listing: everything in the folders, its weights and where they are, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from homolog.zoo import list_products
from homolog.zoo.catalogue import KINDS, Product, untrained


def by_name(configs: Path) -> dict[str, Product]:
    return {f"{product.kind}/{product.name}": product for product in list_products(configs)}


def test_every_yaml_is_a_product_by_kind_and_then_by_name(configs: Path):
    found = [(product.kind, product.name) for product in list_products(configs)]
    assert found == [
        ("matcher", "broken"),
        ("matcher", "plain"),
        ("backbone", "absent"),
        ("backbone", "joined"),
        ("backbone", "light"),
        ("head", "far"),
        ("head", "near"),
    ]


def test_the_description_is_the_first_comment_that_is_not_a_directive(configs: Path):
    products = by_name(configs)
    assert products["matcher/plain"].description == "A matcher in name only"
    assert products["backbone/light"].description == "Light"


def test_nested_weights_count_once_each(configs: Path):
    joined = by_name(configs)["backbone/joined"]
    assert joined.licences == ("MIT", "Apache-2.0") or joined.licences == ("Apache-2.0", "MIT")
    assert joined.size == 6247949
    assert not joined.size_complete


def test_the_status_is_the_state_of_the_weights(configs: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path / "cache"))
    products = by_name(configs)
    assert products["backbone/light"].status == "here"
    assert products["matcher/plain"].status == "here"
    assert products["backbone/joined"].status == "downloadable"
    assert products["backbone/absent"].status == "missing: pip install no-such-weights"
    assert products["head/near"].status == "none needed"
    assert products["matcher/broken"].status == "broken: no head named 'gone'; choose from far, near"


def test_a_product_with_a_part_without_weights_is_untrained(configs: Path):
    text = "# Mine\n_target_: homolog.core.coords.shift_affine\n"
    (configs / "head" / "mine.yaml").write_text(f"{text}checkpoint: null\n")
    (configs / "head" / "outer.yaml").write_text(f"{text}parts: [{{net: {{encoder_checkpoint: null}}}}]\n")
    (configs / "head" / "filled.yaml").write_text(f"{text}checkpoint: some/file.pt\n")
    (configs / "matcher" / "both.yaml").write_text(
        "# @package _global_\n# Trained and untrained\n"
        "defaults: [/backbone@backbone: light, /head@head: mine, _self_]\n"
        "_target_: homolog.core.coords.shift_affine\n"
    )
    products = by_name(configs)
    assert products["head/mine"].status == "untrained"
    assert products["head/outer"].status == "untrained"
    assert products["head/filled"].status == "none needed"
    assert products["matcher/both"].status == "untrained"
    assert products["matcher/both"].size == 6247949
    assert products["matcher/plain"].status == "here"


def test_untrained_parts_have_dotted_names():
    net = {"_target_": "x", "checkpoint": None}
    assert untrained({"head": net, "backbone": {"parts": [{"a": 1}, {"net": net}]}}) == [
        "head",
        "backbone.parts.1.net",
    ]
    assert untrained({"checkpoint": None}) == ["matcher"]
    assert untrained({"head": {"checkpoint": {"_target_": "homolog.zoo.sources.fetch"}}}) == []


@pytest.mark.parametrize(
    "content", [b"# Bad\na: [1\n", b"# Bad\n# B\xff\na: \xff\n"], ids=["syntax", "binary"]
)
def test_a_yaml_that_cannot_be_read_does_not_hide_the_others(configs: Path, content: bytes):
    (configs / "head" / "bad.yaml").write_bytes(content)
    products = by_name(configs)
    assert products["head/bad"].status.startswith("broken: ")
    assert products["head/bad"].description == "Bad"
    assert products["head/near"].status == "none needed"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("url: https", "uri: https", "missing a required argument: 'url'"),
        ("size: null", "size: null\n    bytes: 3", "got an unexpected keyword argument 'bytes'"),
        ("sources.fetch", "sources.fetched", "did you mean homolog.zoo.sources.fetch?"),
    ],
)
def test_a_wrong_description_of_weights_is_reported_and_hides_no_other_product(
    configs: Path, old: str, new: str, problem: str
):
    file = configs / "backbone" / "joined.yaml"
    file.write_text(file.read_text().replace(old, new))
    products = by_name(configs)
    assert products["backbone/joined"].status.startswith("broken: homolog.zoo.sources.fetch")
    assert problem in products["backbone/joined"].status
    assert products["backbone/light"].status == "here"


def test_a_packaged_file_of_another_size_is_damaged(configs: Path):
    file = configs / "backbone" / "light.yaml"
    file.write_text(file.read_text().replace("size: 6247949", "size: 6247950"))
    assert by_name(configs)["backbone/light"].status == "damaged: homolog weights verify backbone/light"


def test_listing_imports_no_torch_and_importing_the_zoo_imports_next_to_nothing(configs: Path):
    code = (
        "import sys, pathlib; import homolog.zoo; "
        "assert not {'torch', 'hydra', 'yaml'} & sys.modules.keys(); "
        f"homolog.zoo.list_products(pathlib.Path({str(configs)!r})); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_products_of_homolog_all_compose_and_are_described():
    products = list_products()
    assert {product.kind for product in products} == set(KINDS)
    assert not [product for product in products if product.status.startswith("broken")]
    assert all(product.description for product in products)
