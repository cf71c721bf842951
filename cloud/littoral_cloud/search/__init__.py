"""The best student for a budget, found by trying: see compress.py, and docs/search.md."""

from littoral_cloud.search.compress import SearchResult, compress
from littoral_cloud.search.recipe import SearchRecipe, search_from, search_named

__all__ = ["SearchRecipe", "SearchResult", "compress", "search_from", "search_named"]
