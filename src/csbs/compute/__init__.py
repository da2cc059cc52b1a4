"""Where servers live: the driver port and its adapters."""
