"""A page to look at visits with: one file with all it needs, which any browser opens."""

from .build import render_page
from .model import Page, PageVisit, Undefined
from .sources import plan_page, visits_page

__all__ = ["Page", "PageVisit", "Undefined", "plan_page", "render_page", "visits_page"]
