"""The types of resources that the local AWS makes, by name."""

from local_aws.cloudformation.kinds import build, events, identity, network, storage

KINDS = {**storage.KINDS, **identity.KINDS, **events.KINDS, **network.KINDS, **build.KINDS}
