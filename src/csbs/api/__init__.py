"""The service over HTTP: parse -> use case -> render.  One room for each protocol."""
