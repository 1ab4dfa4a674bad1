"""A built single-page front end in a folder: which file a request means, and the headers it is sent with."""
