"""IAM of the local AWS: policies evaluated over moto's roles, users and sessions.

What is not evaluated is listed in `policies`, what of a request in `requests`.
"""

from local_aws.iam.identity import Iam
from local_aws.iam.policies import Decision, Policies, Policy, Principal, decide, policy

__all__ = ["Decision", "Iam", "Policies", "Policy", "Principal", "decide", "policy"]
