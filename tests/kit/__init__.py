"""What the tests share: real servers and processes, one file a thing."""
