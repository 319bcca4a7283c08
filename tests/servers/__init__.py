"""Real servers on loopback for tests to deliver to: each can be stopped, started again, held and killed."""
