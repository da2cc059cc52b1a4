"""Shipped fakes, contract suites and values, for tests of csbs and of its adapters."""
