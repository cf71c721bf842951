"""An HTTP/1.1 server stack (RFC 9110, RFC 9112) on asyncio, for any handler: it imports nothing else of Littoral."""
