"""What an operator can do: one plain async function each, with the role that it needs."""
