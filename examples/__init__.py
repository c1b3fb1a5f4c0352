"""Recipes as programs: each file is shown in the documentation, and run by the tests."""
