"""Turns a recipe and a data set into a trained teacher, its students and their artifacts."""
