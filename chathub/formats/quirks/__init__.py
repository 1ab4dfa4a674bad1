"""What single providers and models want otherwise within their format: known (``table``) and learned."""
