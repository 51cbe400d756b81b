"""configs/data of the semantic data sets."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from homolog.core.errors import DataError
from homolog.zoo.build import build

NAMES = (
    *("ap10k_cross_family", "ap10k_cross_species", "ap10k_intra", "named_keypoints", "pfpascal"),
    *("spair", "spair_u", "tss", "willow"),
)


def node(name: str, configs: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(configs / "data" / f"{name}.yaml"))
    return content


@pytest.fixture
def configs(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath / "configs"


@pytest.mark.parametrize("name", NAMES)
def test_data_is_looked_for_where_homolog_data_says(
    name: str, configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every argument is accepted, and what is missing is the data itself.
    monkeypatch.setenv("HOMOLOG_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"{tmp_path}.*expected the folder of .*homolog data check"):
        build(node(name, configs))
