"""Searches for the best students inside a budget: draws, trains and measures trials (docs/search.md)."""

from littoral_cloud.search.compress import SearchResult, compress
from littoral_cloud.search.control import SearchControl
from littoral_cloud.search.recipe import SearchRecipe, search_from, search_named

__all__ = ["SearchControl", "SearchRecipe", "SearchResult", "compress", "search_from", "search_named"]
