"""Pictures. They need matplotlib and skyproj, which the extra ``report`` installs."""

from .camera_plot import PICTURE_ENDINGS, plot_camera
from .sky_plot import plot_coverage, plot_visit

__all__ = ["PICTURE_ENDINGS", "plot_camera", "plot_coverage", "plot_visit"]
