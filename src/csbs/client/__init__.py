"""A client of the service: logins that are kept, and the use cases over the native API."""
