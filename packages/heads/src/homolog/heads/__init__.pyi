# The public names of homolog.heads: type checkers read them here, lazy_loader imports each on first use.
from .coarse_to_fine import CoarseToFine as CoarseToFine
from .consensus import Consensus as Consensus
from .dense_grid import DenseGrid as DenseGrid
from .fusion import AttentionFusion as AttentionFusion
from .fusion import Concatenation as Concatenation
from .fusion import FeaturePyramid as FeaturePyramid
from .guided_matcher import GuidedMatcher as GuidedMatcher
from .lightglue import LightGlue as LightGlue
from .matcha_fusion import MatchaFusion as MatchaFusion
from .nearest import DualSoftmax as DualSoftmax
from .nearest import Nearest as Nearest
from .nearest import mutual_nearest as mutual_nearest
from .optimal_transport import log_optimal_transport as log_optimal_transport
from .optimal_transport import mutual_matches as mutual_matches
from .read_out import locate as locate
