"""Arrays to colours to pictures: PNG, SVG, GIF and MP4. Nothing here knows runs or files of runs."""

from epochal.picture.charts import Curve, CurveChart, UnitChart
from epochal.picture.colours import DIVERGING, INTENSITY, NAMES, limit_of, table
from epochal.picture.flipbook import write_flipbook
from epochal.picture.grid import GridScene
from epochal.picture.labelled import LabelledMatrix, NamedBars
from epochal.picture.matrices import MatricesScene, Matrix, tiles
from epochal.picture.movie import MOVIE_FORMATS, PICTURE_FORMATS, SLOWEST, Progress, replacing, save
from epochal.picture.panels import Panel, PanelsScene
from epochal.picture.pixels import PixelsScene
from epochal.picture.scale import ColourScale
from epochal.picture.scene import Scene, pictures, svg
from epochal.picture.spread import SpreadChart
from epochal.picture.surface import Surface
from epochal.picture.theme import Theme, theme
from epochal.picture.voxels import VoxelsScene

__all__ = [
    "DIVERGING",
    "INTENSITY",
    "MOVIE_FORMATS",
    "NAMES",
    "PICTURE_FORMATS",
    "SLOWEST",
    "ColourScale",
    "Curve",
    "CurveChart",
    "GridScene",
    "LabelledMatrix",
    "MatricesScene",
    "Matrix",
    "NamedBars",
    "Panel",
    "PanelsScene",
    "PixelsScene",
    "Progress",
    "Scene",
    "SpreadChart",
    "Surface",
    "Theme",
    "UnitChart",
    "VoxelsScene",
    "limit_of",
    "pictures",
    "replacing",
    "save",
    "svg",
    "table",
    "theme",
    "tiles",
    "write_flipbook",
]
