"""The storage engine, a library on its own: packs, maps, manifests in an object store."""
