"""The best student for a budget, found by trying: see compress.py, and docs/search.md."""

from cloud.factory.search.compress import Found, compress
from cloud.factory.search.recipe import SearchRecipe, search_from, search_named

__all__ = ["Found", "SearchRecipe", "compress", "search_from", "search_named"]
