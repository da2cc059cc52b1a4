"""Documents: what the native API answers, what `--json` prints, what text is rendered from.

One set for all three: a command shows the same whether its use case ran here or in a service.  Our
words, sizes in bytes, times in RFC 3339 UTC.
"""
