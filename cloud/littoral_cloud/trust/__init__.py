"""Who is believed: the fleet's CA, the release signing key, the audit chain."""
