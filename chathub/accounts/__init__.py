"""Who is calling: passwords, sessions and the throttle on guessing them."""
