"""What the command line prints: tables, JSON, progress."""
