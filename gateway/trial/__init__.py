"""`script check` and `script try`: an action of a customer's, looked at and run outside the gateway."""
