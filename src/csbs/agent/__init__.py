"""Jobs that move bytes: backing up one disk, restoring one disk."""
