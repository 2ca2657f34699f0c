"""CloudFormation: an engine of our own, as moto's skips types that it does not know and never rolls back.

template.py reads, intrinsics.py and parameters.py compute, model.py brings both together; changes.py tells
what would change, deployment.py does it; kinds/ has the types of resources, each made by calls of this
server's own API. api.py has the operations, front.py their protocol.

Stacks live as long as the process: so do the roles, alarms and networks that they own, which moto keeps in
memory.
"""

from local_aws.cloudformation.front import CloudFormation

__all__ = ["CloudFormation"]
