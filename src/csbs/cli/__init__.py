"""The command line: parse, use case, render; one module for each noun."""
