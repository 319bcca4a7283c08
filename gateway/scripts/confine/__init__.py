"""What a worker does to itself before the customer's code runs, so that it reaches nothing it was not given."""
