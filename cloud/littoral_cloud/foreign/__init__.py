"""Models from elsewhere: opened at arm's length, measured, released without training. docs/import.md says how."""
