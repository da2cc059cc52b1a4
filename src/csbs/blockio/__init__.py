"""Disks as blocks: NBD servers and clients, image files, the bounded copy pipeline."""
