"""How the resource behind a physical id of a stack is asked for from its own service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# How each type is asked for: service, operation, request for a physical id; it raises when there is none.
ASKED: dict[str, tuple[str, str, Callable[[str], dict[str, Any]]]] = {
    "AWS::S3::Bucket": ("s3", "head_bucket", lambda found: {"Bucket": found}),
    "AWS::S3::BucketPolicy": ("s3", "get_bucket_policy", lambda found: {"Bucket": found}),
    "AWS::KMS::Key": ("kms", "describe_key", lambda found: {"KeyId": found}),
    "AWS::KMS::Alias": ("kms", "describe_key", lambda found: {"KeyId": found}),
    "AWS::ECR::Repository": ("ecr", "describe_repositories", lambda found: {"repositoryNames": [found]}),
    "AWS::SageMaker::ModelPackageGroup": (
        "sagemaker",
        "describe_model_package_group",
        lambda found: {"ModelPackageGroupName": found},
    ),
    "AWS::IAM::Role": ("iam", "get_role", lambda found: {"RoleName": found}),
    "AWS::IAM::ManagedPolicy": ("iam", "get_policy", lambda found: {"PolicyArn": found}),
    "AWS::IAM::OIDCProvider": (
        "iam",
        "get_open_id_connect_provider",
        lambda found: {"OpenIDConnectProviderArn": found},
    ),
    "AWS::SNS::Topic": ("sns", "get_topic_attributes", lambda found: {"TopicArn": found}),
    "AWS::SNS::Subscription": (
        "sns",
        "get_subscription_attributes",
        lambda found: {"SubscriptionArn": found},
    ),
    "AWS::SQS::Queue": ("sqs", "get_queue_attributes", lambda found: {"QueueUrl": found}),
    "AWS::Scheduler::Schedule": ("scheduler", "get_schedule", lambda found: {"Name": found}),
    "AWS::Events::Rule": ("events", "describe_rule", lambda found: {"Name": found}),
    "AWS::CloudWatch::Dashboard": ("cloudwatch", "get_dashboard", lambda found: {"DashboardName": found}),
    "AWS::EC2::VPC": ("ec2", "describe_vpcs", lambda found: {"VpcIds": [found]}),
    "AWS::EC2::Subnet": ("ec2", "describe_subnets", lambda found: {"SubnetIds": [found]}),
    "AWS::EC2::RouteTable": ("ec2", "describe_route_tables", lambda found: {"RouteTableIds": [found]}),
    "AWS::EC2::SecurityGroup": ("ec2", "describe_security_groups", lambda found: {"GroupIds": [found]}),
    "AWS::EC2::VPCEndpoint": ("ec2", "describe_vpc_endpoints", lambda found: {"VpcEndpointIds": [found]}),
    # These answer without it as well: the answer tells.
    "AWS::CloudWatch::Alarm": ("cloudwatch", "describe_alarms", lambda found: {"AlarmNames": [found]}),
    "AWS::CloudWatch::CompositeAlarm": (
        "cloudwatch",
        "describe_alarms",
        lambda found: {"AlarmNames": [found], "AlarmTypes": ["CompositeAlarm"]},
    ),
    "AWS::Logs::LogGroup": ("logs", "describe_log_groups", lambda found: {"logGroupNamePrefix": found}),
    "AWS::CodeBuild::Project": ("codebuild", "batch_get_projects", lambda found: {"names": [found]}),
    "AWS::CodePipeline::Pipeline": ("codepipeline", "get_pipeline", lambda found: {"name": found}),
    "AWS::CodeConnections::Connection": (
        "codeconnections",
        "get_connection",
        lambda found: {"ConnectionArn": found},
    ),
    "AWS::EC2::SecurityGroupIngress": ("ec2", "describe_security_group_rules", lambda found: {}),
    "AWS::EC2::SecurityGroupEgress": ("ec2", "describe_security_group_rules", lambda found: {}),
    "AWS::EC2::SubnetRouteTableAssociation": ("ec2", "describe_route_tables", lambda found: {}),
}
