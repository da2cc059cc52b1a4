"""Moves the bytes of one disk: from an NBD export into a repository, and back.

It knows no catalog, no server and no driver: only an NBD URI, and a writer or reader of one image.
"""
