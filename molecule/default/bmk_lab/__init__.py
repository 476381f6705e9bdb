"""The lab: real machines' stand-ins for Molecule and for `make lab`.

Containers that boot systemd, joined by FRR routers into racks. Pure parts (`model`, `render`, `plan`, `parse`) know nothing of podman's state or of
the host; `engine` observes, asks `plan` what to do, and does it. Standard library only.
"""
