"""SPair-U: SPair-71k's test pairs with points that nobody was trained on (Mariotti et al. 2025)."""

from pathlib import Path

from homolog.core.errors import DataError
from homolog.core.samples import PairSample
from homolog.data import annotation, spair
from homolog.data.layout import Expected, Layout

LAYOUT = Layout(
    name="SPair-U",
    folder="SPair-U",
    home="https://github.com/VICO-UoE/JamaisVu",
    licence="none known to us; annotations of SPair-71k's images, research use",
    obtain="Get SPair-71k, and SPair-U.zip from the link in the README of JamaisVu; unpack it beside SPair-71k.",
    signature=("ExtraPairAnnotation/test", "ExtraImageAnnotation"),
    expected=(
        Expected(what="pairs of the test split", pattern="*PairAnnotation/test/*.json"),
        Expected(what="image annotations", pattern="*ImageAnnotation/*/*.json"),
    ),
    configs=("spair_u",),
)

SPELLINGS = (("PairAnnotation", "ImageAnnotation"), ("ExtraPairAnnotation", "ExtraImageAnnotation"))
"""The README says that the structure is SPair-71k's; the authors' loader reads folders named Extra...."""


class SpairUPairs:
    """Test pairs of SPair-71k with the new annotations of SPair-U.

    What is publicly known: the annotations come without images, have the structure of SPair-71k's test
    annotations, and are read like those of GeoAware-SC, from the image annotations (JamaisVu's README
    and its `utils/utils_dataset.py`). Assumed: no list of pairs comes along, so that pairs are taken in
    the order of their names. Keypoint numbers mean other parts than in SPair-71k, so that there is no
    geometry-aware group.

    Coordinates are taken as they are annotated: integer = pixel centre.
    """

    def __init__(self, root: str | Path, *, images: str | Path, category: str | None = None) -> None:
        """Read the list of pairs.

        Args:
            root: the folder `SPair-U`, or SPair-71k's own if the Extra... folders were put there.
            images: the folder `SPair-71k`.
            category: one of the 18, to leave the others out.

        Raises:
            ConfigError: no such category.
            DataError: a folder is missing.
        """
        folder, originals = annotation.root_of(root, LAYOUT), annotation.root_of(images, spair.LAYOUT)
        # Below SPair-71k the plain names are SPair-71k's own annotations.
        spellings = SPELLINGS[1:] if folder.resolve() == originals.resolve() else SPELLINGS
        found = [names for names in spellings if (folder / names[0] / "test").is_dir()]
        if not found:
            expected = " or ".join(f"{names[0]}/test" for names in spellings)
            raise DataError(f"{folder}: expected the folder {expected}, found none; {LAYOUT.advice()}")
        pairs, points = found[0]
        self.places = spair.Places(
            images=originals / "JPEGImages",
            image_annotations=folder / points,
            pair_annotations=folder / pairs / "test",
            pair_list=None,
            layout=LAYOUT,
        )
        self.names = spair.pair_names(self.places, category)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.names)

    def __getitem__(self, index: int) -> PairSample:
        """Read a pair.

        Raises:
            DataError: a file is missing or damaged, or an image has another size than annotated.
        """
        return spair.read_pair(self.places, self.names[index], keypoints="image", groups=None)
