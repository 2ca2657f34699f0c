"""Which resource each operation's action is about, service by service.

Rows as in AWS's service authorization reference: operations, then the last part of the resource's ARN with
the parameters that fill it; `*` for an action that has no resource. A parameter that holds an ARN is the
resource; a list is one resource each; one that is absent is any. What has no row is refused by name.
"""

LOG_GROUP = "log-group:{logGroupName|logGroupIdentifier}:log-stream:"
LOG_STREAM = LOG_GROUP + "{logStreamName}"
RULE = "rule/{Name|Rule}"
REPOSITORY = "repository/{repositoryName|repositoryNames}"
KINDS = {
    "TrainingJob": "training-job",
    "ProcessingJob": "processing-job",
    "TransformJob": "transform-job",
    "HyperParameterTuningJob": "hyper-parameter-tuning-job",
    "Model": "model",
    "ModelPackageGroup": "model-package-group",
}

ROWS: dict[str, dict[str, str]] = {
    "sagemaker": {
        **{
            f"Create{kind} Describe{kind} Delete{kind}": f"{path}/{{{kind}Name}}"
            for kind, path in KINDS.items()
        },
        **{f"Stop{kind}": f"{path}/{{{kind}Name}}" for kind, path in KINDS.items() if kind.endswith("Job")},
        "UpdateTrainingJob": "training-job/{TrainingJobName}",
        "ListTrainingJobsForHyperParameterTuningJob": (
            "hyper-parameter-tuning-job/{HyperParameterTuningJobName}"
        ),
        "CreatePipeline DescribePipeline UpdatePipeline DeletePipeline": "pipeline/{PipelineName}",
        "StartPipelineExecution ListPipelineExecutions": "pipeline/{PipelineName}",
        "DescribePipelineExecution UpdatePipelineExecution StopPipelineExecution": "{PipelineExecutionArn}",
        "RetryPipelineExecution ListPipelineExecutionSteps": "{PipelineExecutionArn}",
        "ListPipelineParametersForExecution": "{PipelineExecutionArn}",
        "DescribePipelineDefinitionForExecution": "{PipelineExecutionArn}",
        "DescribeModelPackage DeleteModelPackage UpdateModelPackage": (
            "model-package/{ModelPackageName|ModelPackageArn}"
        ),
        "BatchDescribeModelPackage": "model-package/{ModelPackageArnList}",
        "ListModelPackages": "model-package/{ModelPackageGroupName}/*",
        "CreateModelPackage": "model-package/{ModelPackageGroupName}/*",
        "AddTags DeleteTags ListTags": "{ResourceArn}",
        "ListTrainingJobs ListProcessingJobs ListTransformJobs ListHyperParameterTuningJobs": "*",
        "ListModels ListModelPackageGroups ListPipelines": "*",
    },
    "logs": {
        "CreateLogGroup DeleteLogGroup DescribeLogStreams FilterLogEvents PutRetentionPolicy": LOG_GROUP,
        "DeleteRetentionPolicy TagLogGroup UntagLogGroup ListTagsLogGroup StartQuery": LOG_GROUP,
        "AssociateKmsKey DisassociateKmsKey": LOG_GROUP,
        "CreateLogStream DeleteLogStream PutLogEvents GetLogEvents": LOG_STREAM,
        "DescribeLogGroups ListLogGroups GetQueryResults": "*",
        "TagResource UntagResource ListTagsForResource": "{resourceArn}",
    },
    "cloudwatch": {
        "PutMetricAlarm PutCompositeAlarm SetAlarmState": "alarm:{AlarmName}",
        "DeleteAlarms DescribeAlarms EnableAlarmActions DisableAlarmActions": "alarm:{AlarmNames}",
        "DescribeAlarmHistory": "alarm:{AlarmName}",
        "PutDashboard GetDashboard": "dashboard/{DashboardName}",
        "DeleteDashboards": "dashboard/{DashboardNames}",
        "PutMetricData GetMetricData GetMetricStatistics ListMetrics GetMetricWidgetImage": "*",
        "DescribeAlarmsForMetric ListDashboards": "*",
        "TagResource UntagResource ListTagsForResource": "{ResourceARN}",
    },
    "events": {
        "PutRule DescribeRule DeleteRule EnableRule DisableRule": RULE,
        "PutTargets RemoveTargets ListTargetsByRule": RULE,
        "DescribeEventBus CreateEventBus DeleteEventBus": "event-bus/{Name}",
        "ListRules ListRuleNamesByTarget ListEventBuses TestEventPattern": "*",
        "TagResource UntagResource ListTagsForResource": "{ResourceARN}",
    },
    "scheduler": {
        "CreateSchedule GetSchedule UpdateSchedule DeleteSchedule": "schedule/{GroupName}/{Name}",
        "CreateScheduleGroup GetScheduleGroup DeleteScheduleGroup": "schedule-group/{Name}",
        "ListSchedules ListScheduleGroups": "*",
        "TagResource UntagResource ListTagsForResource": "{ResourceArn}",
    },
    "ecr": {
        "GetAuthorizationToken DescribeRegistry": "*",
        "CreateRepository DeleteRepository DescribeRepositories DescribeImages ListImages": REPOSITORY,
        "BatchGetImage GetDownloadUrlForLayer BatchCheckLayerAvailability PutImage": REPOSITORY,
        "InitiateLayerUpload UploadLayerPart CompleteLayerUpload BatchDeleteImage": REPOSITORY,
        "PutLifecyclePolicy GetLifecyclePolicy DeleteLifecyclePolicy SetRepositoryPolicy": REPOSITORY,
        "GetRepositoryPolicy DeleteRepositoryPolicy PutImageScanningConfiguration": REPOSITORY,
        "PutImageTagMutability StartImageScan DescribeImageScanFindings": REPOSITORY,
        "TagResource UntagResource ListTagsForResource": "{resourceArn}",
    },
    "sns": {
        "CreateTopic": "{Name}",
        "DeleteTopic GetTopicAttributes SetTopicAttributes Publish Subscribe": "{TopicArn}",
        "ListSubscriptionsByTopic AddPermission RemovePermission ConfirmSubscription": "{TopicArn}",
        "GetDataProtectionPolicy PutDataProtectionPolicy": "{ResourceArn}",
        # The reference names no resource for these three; refusals of AWS name the topic.
        "Unsubscribe GetSubscriptionAttributes SetSubscriptionAttributes": "{SubscriptionArn}",
        "ListTopics ListSubscriptions": "*",
        "TagResource UntagResource ListTagsForResource": "{ResourceArn}",
    },
    "sqs": {
        "CreateQueue GetQueueUrl": "{QueueName}",
        "DeleteQueue GetQueueAttributes SetQueueAttributes PurgeQueue": "{QueueUrl}",
        "SendMessage ReceiveMessage DeleteMessage ChangeMessageVisibility": "{QueueUrl}",
        "TagQueue UntagQueue ListQueueTags AddPermission RemovePermission": "{QueueUrl}",
        "ListQueues": "*",
    },
    "kms": {
        "CreateKey ListKeys ListAliases GenerateRandom": "*",
        "DescribeKey Encrypt Decrypt GenerateDataKey GenerateDataKeyWithoutPlaintext": "{KeyId}",
        "GetKeyPolicy PutKeyPolicy EnableKeyRotation DisableKeyRotation GetKeyRotationStatus": "{KeyId}",
        "ScheduleKeyDeletion CancelKeyDeletion EnableKey DisableKey UpdateKeyDescription": "{KeyId}",
        "TagResource UntagResource ListResourceTags ListKeyPolicies": "{KeyId}",
        "CreateAlias DeleteAlias UpdateAlias": "{AliasName}",
    },
    "codebuild": {
        "CreateProject": "project/{name}",
        "UpdateProject DeleteProject": "project/{name}",
        "StartBuild ListBuildsForProject": "project/{projectName}",
        "BatchGetProjects": "project/{names}",
        "BatchGetBuilds": "project/{ids}",
        "StopBuild RetryBuild": "project/{id}",
        "ListProjects ListBuilds": "*",
    },
    "codepipeline": {
        "StartPipelineExecution GetPipeline GetPipelineState DeletePipeline": "{name}",
        "ListPipelineExecutions": "{pipelineName}",
        "ListPipelines": "*",
    },
    "secretsmanager": {
        "CreateSecret": "secret:{Name}-??????",
        "GetSecretValue DescribeSecret PutSecretValue UpdateSecret DeleteSecret": "secret:{SecretId}",
        "GetResourcePolicy TagResource UntagResource RestoreSecret": "secret:{SecretId}",
        "ListSecrets GetRandomPassword": "*",
    },
    "servicequotas": {
        "GetServiceQuota": "{ServiceCode}/{QuotaCode}",
        "ListServiceQuotas ListAWSDefaultServiceQuotas GetAWSDefaultServiceQuota ListServices": "*",
        "ListRequestedServiceQuotaChangeHistory": "*",
    },
    "tag": {"GetResources GetTagKeys GetTagValues TagResources UntagResources": "*"},
    "cloudformation": {
        "CreateStack UpdateStack DeleteStack DescribeStacks DescribeStackEvents": "stack/{StackName}/*",
        "DescribeStackResource DescribeStackResources ListStackResources": "stack/{StackName}/*",
        "CreateChangeSet DescribeChangeSet ExecuteChangeSet DeleteChangeSet": "stack/{StackName}/*",
        "ListChangeSets GetTemplate GetStackPolicy SetStackPolicy CancelUpdateStack": "stack/{StackName}/*",
        "ContinueUpdateRollback RollbackStack UpdateTerminationProtection": "stack/{StackName}/*",
        "DetectStackDrift DescribeStackResourceDrifts": "stack/{StackName}/*",
        "GetTemplateSummary": "stack/{StackName}/*",
        "ValidateTemplate ListStacks ListExports ListImports DescribeStackDriftDetectionStatus": "*",
    },
    "sts": {
        "GetSessionToken GetAccessKeyInfo DecodeAuthorizationMessage": "*",
        "AssumeRole": "{RoleArn}",
    },
}
# Operations whose permission is that of another.
SAME = {
    ("sns", "PublishBatch"): "Publish",
    ("sqs", "SendMessageBatch"): "SendMessage",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
}
# Creation with tags needs this action too.
TAGGING = {
    "sagemaker": "AddTags",
    "cloudformation": "TagResource",
    "logs": "TagResource",
    "cloudwatch": "TagResource",
    "events": "TagResource",
    "scheduler": "TagResource",
    "ecr": "TagResource",
    "sns": "TagResource",
    "sqs": "TagQueue",
    "kms": "TagResource",
    "secretsmanager": "TagResource",
}
# Where requests pass a role, and to which service.
PASSED = {
    "sagemaker": (
        ("RoleArn", "ExecutionRoleArn", "TrainingJobDefinition.RoleArn"),
        "sagemaker.amazonaws.com",
    ),
    "events": (("RoleArn", "Targets.RoleArn"), "events.amazonaws.com"),
    "scheduler": (("Target.RoleArn",), "scheduler.amazonaws.com"),
    "codebuild": (("serviceRole",), "codebuild.amazonaws.com"),
    "cloudformation": (("RoleARN",), "cloudformation.amazonaws.com"),
}
# The service that signs its requests otherwise than its actions begin.
PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag"}


def by_operation() -> dict[tuple[str, str], str]:
    """The resource's form by service and operation."""
    return {
        (service, operation): form
        for service, rows in ROWS.items()
        for operations, form in rows.items()
        for operation in operations.split()
    }


FORMS = by_operation()
