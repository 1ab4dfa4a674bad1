"""How much of the server's memory and connections one user may take, and fair queues."""
