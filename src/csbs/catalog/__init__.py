"""Where facts are: tables, migrations and queries of the SQL database.

Queries are functions of `csbs.catalog.servers`, `.backups` and `.tasks`; each takes the
transaction in which it runs, and the project whose rows it may see.  Those of `.users`,
`.projects`, `.tokens` and `.access_keys` are of the region: they answer who asks, and for what.
"""

from csbs.catalog import event_tables, identity_tables, policy_tables, run_tables
from csbs.catalog.catalog import Catalog, Home, Transaction
from csbs.catalog.identity_file import IdentityFile

__all__ = [
    "Catalog",
    "Home",
    "IdentityFile",
    "Transaction",
    "event_tables",
    "identity_tables",
    "policy_tables",
    "run_tables",
]
