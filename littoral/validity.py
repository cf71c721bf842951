"""How long before its end a certificate is looked after. Said here, where nothing is imported: an installer reads it, too."""

RENEW_AFTER = 2 / 3
"""Of a certificate's life: from then on a node asks for the next one."""

EXPIRES_SOON_S = 14 * 86_400.0
"""A certificate that has so many seconds left should have been renewed: operators are warned of it on both sides."""
