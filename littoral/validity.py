"""How long before its end a certificate is renewed. This module imports nothing, for the installer reads it too."""

RENEW_AFTER = 2 / 3
"""Of a certificate's life: from then on a node asks for the next one."""

EXPIRES_SOON_S = 14 * 86_400.0
"""A certificate with fewer seconds left should have been renewed: both sides warn operators."""
