"""Speed, measured: csbs beside `zstd` and its peers, on one machine in one run."""
