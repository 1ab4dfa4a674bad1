"""Forms with files: ``multipart/form-data`` (RFC 7578), read as it arrives and written for a provider."""
