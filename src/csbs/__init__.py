"""The open Cloud Server Backup Service."""
