"""Speech, transcriptions and edits of images: requests that are forwarded to providers of OpenAI's format."""
