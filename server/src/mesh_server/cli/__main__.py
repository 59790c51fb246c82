"""`python -m mesh_server.cli` is `mesh-server`."""

from mesh_server.cli import main

main()
