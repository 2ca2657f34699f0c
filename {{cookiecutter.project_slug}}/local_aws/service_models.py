"""AWS's service models, read once a process."""

import botocore.loaders
import botocore.session


def share_service_models() -> None:
    """Lets all boto3 sessions share one loader: reading SageMaker's service model takes each 0.35 s."""
    shared = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda search_path=None: shared
