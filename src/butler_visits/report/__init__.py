"""Pictures. They need matplotlib and skyproj, which the extra ``report`` installs."""

from .camera_plot import PICTURE_ENDINGS, plot_camera, require_matplotlib
from .sky_plot import plot_coverage, plot_visit, require_skyproj

__all__ = ["PICTURE_ENDINGS", "plot_camera", "plot_coverage", "plot_visit", "require_matplotlib", "require_skyproj"]
