"""Alembic's entry: runs the migrations on the engine that `csbs.catalog.database` opened."""

from alembic import context

from csbs.catalog.postgres import sort_by_code_points
from csbs.catalog.tables import metadata

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
        if connection.dialect.name == "postgresql":
            sort_by_code_points(connection, metadata)
