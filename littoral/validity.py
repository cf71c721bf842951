"""How long before its end a certificate is renewed. This module imports nothing, for the installer reads it too."""

RENEW_AFTER = 2 / 3
"""Of a certificate's life: from then on a node asks for the next one."""

EXPIRES_SOON_S = 7 * 86_400.0
"""Both sides warn operators of a certificate that has fewer seconds left, or less than a sixth of its life: it should have been
renewed."""


def expires_soon(begins_at: float, ends_at: float, now: float) -> bool:
    """Whether an operator should look at it. Times are seconds since 1970-01-01 UTC."""
    return ends_at - now < min(EXPIRES_SOON_S, (ends_at - begins_at) / 6)
