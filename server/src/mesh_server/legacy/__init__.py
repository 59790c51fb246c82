"""What the published clients of before (mesh-beta 1.0, mesh-sdk 1.5) ask for, on top of the services: no way past."""
