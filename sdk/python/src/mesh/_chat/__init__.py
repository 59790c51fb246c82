"""Chat beyond one request: tools, structured output, images and files, several turns. Nothing here sends anything."""
