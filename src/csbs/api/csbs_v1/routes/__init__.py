"""The calls of CSBS v1, one module for each noun: parse -> use case -> render."""
