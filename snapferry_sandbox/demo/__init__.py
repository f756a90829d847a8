"""A whole migration on the sandbox: real data, a client that goes on writing, and the proof."""
