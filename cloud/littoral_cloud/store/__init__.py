"""Redis behind the Ledger port, and big things on disk by digest. Nothing outside this package imports redis."""
