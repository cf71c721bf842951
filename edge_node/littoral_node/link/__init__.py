"""The one outbound connection to the cloud: the session and its messages."""
