"""ScanNet-1500 as SuperGlue ships it: `scannet_test_pairs_with_gt.txt`, 1,500 lines of 38 fields.

Intrinsics are those of the colour camera at 1296 x 968 with integer coordinates at pixel centres, as
here. Frames that were exported at another size get intrinsics that are scaled to it.
"""

from pathlib import Path

from homolog.data.annotation import root_of
from homolog.data.layout import Expected, Layout
from homolog.data.pose_pairs import PosePairs

LAYOUT = Layout(
    name="ScanNet-1500 (SuperGlue)",
    folder="scannet_test_images",
    home="https://github.com/magicleap/SuperGluePretrainedNetwork",
    licence="ScanNet Terms of Use: signed, for research only",
    obtain=(
        "Sign ScanNet's terms, extract the frames that assets/scannet_test_images.txt of SuperGlue's repository "
        "lists, and put its assets/scannet_test_pairs_with_gt.txt beside them."
    ),
    signature=("scannet_test_pairs_with_gt.txt",),
    expected=(
        Expected(what="pairs", pattern="scannet_test_pairs_with_gt.txt", count=1500, unit="lines"),
        Expected(what="colour frames", pattern="scene*_*/*.jpg"),
    ),
    configs=("scannet1500_superglue",),
)

COLOUR_SIZE = (968, 1296)


class ScanNet1500SuperGlue(PosePairs):
    """Pairs of frames of rooms with relative poses; see `PosePairs`."""

    def __init__(self, *, root: str | Path, pairs: str | Path = "scannet_test_pairs_with_gt.txt") -> None:
        """Read the list.

        Args:
            root: the folder of the frames.
            pairs: the text file, relative to the root or absolute.

        Raises:
            DataError: the list is missing or damaged.
        """
        super().__init__(
            root=root_of(root, LAYOUT), pairs=pairs, origin="centre", size=COLOUR_SIZE, advice=LAYOUT.advice()
        )
