# The calls of Debian's python3-libvirt (9.0) that csbs uses.
from libvirt import virDomain

VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT: int
VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP: int

def qemuMonitorCommand(domain: virDomain, cmd: str, flags: int) -> str: ...
def qemuAgentCommand(domain: virDomain, cmd: str, timeout: int, flags: int) -> str: ...
