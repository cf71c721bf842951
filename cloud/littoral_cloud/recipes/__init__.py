"""Recipes: which teacher and which students to make of a data set, read from TOML or fitted to the data."""
