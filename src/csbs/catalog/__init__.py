"""Where facts are: tables, migrations and queries of the SQL database.

Queries are functions of `csbs.catalog.servers`, `.backups` and `.tasks`; each takes the
transaction in which it runs, and the project whose rows it may see.
"""

import csbs.catalog.policy_tables  # noqa: F401  it enters its tables
from csbs.catalog.catalog import Catalog, Home, Transaction
from csbs.catalog.identity_file import IdentityFile

__all__ = ["Catalog", "Home", "IdentityFile", "Transaction"]
