"""Clean child processes in milliseconds: a server imports heavy modules once, then forks a sandboxed child per request.

``ForkServer`` (in the owner) asks ``python -m services.forkserver`` for a child; both then talk over a socket in lines
of JSON: the owner holds a ``Child``, the function that runs in the child holds a ``Channel``. When the owner dies,
however it dies, its children are gone within a moment. Linux only.
"""

from services.forkserver.channel import Channel
from services.forkserver.child import Child, Exit
from services.forkserver.client import ForkServer
from services.forkserver.limits import Limits

__all__ = ["Channel", "Child", "Exit", "ForkServer", "Limits"]
