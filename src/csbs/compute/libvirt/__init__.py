"""The driver of servers under libvirt."""
