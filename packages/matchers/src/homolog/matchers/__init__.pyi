# The public names of homolog.matchers: type checkers read them here, lazy_loader imports each on first use.
from .base import FeatureMatcher as FeatureMatcher
from .base import ImageFeatures as ImageFeatures
from .base import ImageGeometry as ImageGeometry
from .dense import DenseCorrespondence as DenseCorrespondence
from .dense import DenseMatcher as DenseMatcher
from .external import ExternalCorrespondence as ExternalCorrespondence
from .external import ExternalMatcher as ExternalMatcher
from .external import VismatchMatcher as VismatchMatcher
from .loftr import Loftr as Loftr
from .published import PublishedCorrespondence as PublishedCorrespondence
from .published import PublishedReadOut as PublishedReadOut
from .sparse import SparseCorrespondence as SparseCorrespondence
from .sparse import SparseMatcher as SparseMatcher
from .tracking import FrameByFrame as FrameByFrame
