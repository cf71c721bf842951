"""Webhooks: lines of the audit trail, sent to other systems as they are written."""
