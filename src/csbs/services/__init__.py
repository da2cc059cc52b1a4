"""Use cases: what a caller may ask for, one module for each noun."""
