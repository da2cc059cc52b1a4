"""The words and shapes of CSBS v1 (docs/reference/csbs-v1-api.md): pure, both ways."""
