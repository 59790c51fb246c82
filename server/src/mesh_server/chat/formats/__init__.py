"""The wire formats that people speak to Mesh; pure but for `sse`, which writes streams."""
