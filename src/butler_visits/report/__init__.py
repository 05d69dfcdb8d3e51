"""Pictures. They need matplotlib, which the extra ``report`` installs."""

from .camera_plot import PICTURE_ENDINGS, plot_camera, require_matplotlib

__all__ = ["PICTURE_ENDINGS", "plot_camera", "require_matplotlib"]
