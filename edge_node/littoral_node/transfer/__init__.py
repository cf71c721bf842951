"""Blobs to and from the coordinator: downloads resume at the byte, inside a rate and the disk's room."""
