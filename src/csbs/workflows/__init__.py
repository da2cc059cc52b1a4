"""Durable operations: plain functions over the port `Run`, made of named steps."""
