"""The best student for a budget, found by trying: see compress.py, and docs/search.md."""

from littoral_cloud.search.compress import Found, compress
from littoral_cloud.search.recipe import SearchRecipe, search_from, search_named

__all__ = ["Found", "SearchRecipe", "compress", "search_from", "search_named"]
