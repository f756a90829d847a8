"""AWS, two accounts and real clusters on one machine."""
