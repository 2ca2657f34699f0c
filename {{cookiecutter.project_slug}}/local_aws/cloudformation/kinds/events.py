"""Schedules, alarms, rules, topics, queues and budgets."""

from typing import Any

from local_aws.cloudformation.kinds.kind import Aspect, Call, Caller, Kind, ResourceError
from local_aws.cloudformation.kinds.tags import tagging

QUEUE_ATTRIBUTES = (
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
)
QUEUE_DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}
TOPIC_ATTRIBUTES = (
    "ContentBasedDeduplication",
    "DisplayName",
    "FifoTopic",
    "KmsMasterKeyId",
    "SignatureVersion",
    "TracingConfig",
)
SUBSCRIPTION_ATTRIBUTES = (
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "SubscriptionRoleArn",
)


def _gathered(properties: dict, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: properties[name] for name in names if name in properties}


def _queue(caller: Caller, properties: dict) -> dict:
    return {"Attributes": _gathered(properties, QUEUE_ATTRIBUTES)}


def _queue_attributes(caller: Caller, id: str, old: dict, new: dict) -> None:
    gone = {name: QUEUE_DEFAULTS.get(name, "") for name in QUEUE_ATTRIBUTES if name in old}
    changed = gone | _gathered(new, QUEUE_ATTRIBUTES)
    changed.pop("FifoQueue", None)  # which no queue can change
    caller.call("sqs", "SetQueueAttributes", {"QueueUrl": id, "Attributes": changed})


def _queue_policies(caller: Caller, id: str, old: dict, new: dict) -> None:
    for url in sorted(set(old.get("Queues", [])) - set(new.get("Queues", []))):
        caller.call("sqs", "SetQueueAttributes", {"QueueUrl": url, "Attributes": {"Policy": ""}})
    for url in new.get("Queues", []):
        request = {"QueueUrl": url, "Attributes": {"Policy": new["PolicyDocument"]}}
        caller.call("sqs", "SetQueueAttributes", request)


def _topic(caller: Caller, properties: dict) -> dict:
    return {"Attributes": _gathered(properties, TOPIC_ATTRIBUTES)}


def _topic_attributes(caller: Caller, id: str, old: dict, new: dict) -> None:
    for name in TOPIC_ATTRIBUTES:
        if old.get(name) != new.get(name):
            _set_topic(caller, id, name, new.get(name, ""))


def _set_topic(caller: Caller, arn: str, name: str, value: Any) -> None:
    request = {"TopicArn": arn, "AttributeName": name, "AttributeValue": value}
    caller.call("sns", "SetTopicAttributes", request)


def _topic_subscriptions(caller: Caller, id: str, old: dict, new: dict) -> None:
    before = {(each["Protocol"], each["Endpoint"]) for each in old.get("Subscription", [])}
    after = {(each["Protocol"], each["Endpoint"]) for each in new.get("Subscription", [])}
    listed = caller.call("sns", "ListSubscriptionsByTopic", {"TopicArn": id})["Subscriptions"]
    for each in listed:
        if (each["Protocol"], each["Endpoint"]) in before - after:
            caller.call("sns", "Unsubscribe", {"SubscriptionArn": each["SubscriptionArn"]})
    for protocol, endpoint in sorted(after - before):
        caller.call("sns", "Subscribe", {"TopicArn": id, "Protocol": protocol, "Endpoint": endpoint})


def _topic_policies(caller: Caller, id: str, old: dict, new: dict) -> None:
    for arn in sorted(set(old.get("Topics", [])) - set(new.get("Topics", []))):
        _set_topic(caller, arn, "Policy", _owner_policy(caller, arn))
    for arn in new.get("Topics", []):
        _set_topic(caller, arn, "Policy", new["PolicyDocument"])


def _owner_policy(caller: Caller, arn: str) -> dict:
    """The policy of a topic that was given none: a topic cannot be without."""
    owner = {"StringEquals": {"AWS:SourceOwner": caller.account}}
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["SNS:Publish", "SNS:Subscribe", "SNS:GetTopicAttributes", "SNS:SetTopicAttributes"],
        "Resource": arn,
        "Condition": owner,
    }
    return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}


def _subscription(caller: Caller, properties: dict) -> dict:
    return {"Attributes": _gathered(properties, SUBSCRIPTION_ATTRIBUTES), "ReturnSubscriptionArn": True}


def _subscription_attributes(caller: Caller, id: str, old: dict, new: dict) -> None:
    for name in SUBSCRIPTION_ATTRIBUTES:
        if old.get(name) != new.get(name):
            request = {"SubscriptionArn": id, "AttributeName": name, "AttributeValue": new.get(name, "")}
            caller.call("sns", "SetSubscriptionAttributes", request)


def _targets(caller: Caller, id: str, old: dict, new: dict) -> None:
    properties = new or old
    bus = {"EventBusName": properties["EventBusName"]} if "EventBusName" in properties else {}
    kept = {target["Id"] for target in new.get("Targets", [])}
    if gone := [target["Id"] for target in old.get("Targets", []) if target["Id"] not in kept]:
        caller.call("events", "RemoveTargets", {"Rule": id, "Ids": gone, **bus})
    if not kept:
        return
    answer = caller.call("events", "PutTargets", {"Rule": id, "Targets": new["Targets"], **bus})
    if answer.get("FailedEntryCount"):
        failed = [f"{each['TargetId']}: {each['ErrorMessage']}" for each in answer["FailedEntries"]]
        raise ResourceError("; ".join(failed))


def _budget(caller: Caller, properties: dict) -> dict:
    return {
        "AccountId": caller.account,
        "Budget": properties["Budget"],
        "NotificationsWithSubscribers": properties.get("NotificationsWithSubscribers", []),
    }


def _budget_change(caller: Caller, id: str, old: dict, new: dict) -> None:
    caller.call("budgets", "UpdateBudget", {"AccountId": caller.account, "NewBudget": new["Budget"]})


ALARM = "arn:aws:cloudwatch:{region}:{account}:alarm:{id}"
GROUP = "arn:aws:scheduler:{region}:{account}:schedule-group/{id}"
TOPIC = "arn:aws:sns:{region}:{account}:{name}"
RULE = "arn:aws:events:{region}:{account}:rule/{id}"

KINDS = {
    "AWS::Scheduler::Schedule": Kind(
        "scheduler",
        create="CreateSchedule",
        update=Call("UpdateSchedule", {"Name": "{id}", "GroupName": "{GroupName}"}),
        describe=Call("GetSchedule", {"Name": "{id}", "GroupName": "{GroupName}"}),
        delete=Call("DeleteSchedule", {"Name": "{id}", "GroupName": "{GroupName}"}),
        name="Name",
        attributes={"Arn": "Arn"},
    ),
    "AWS::Scheduler::ScheduleGroup": Kind(
        "scheduler",
        create="CreateScheduleGroup",
        describe=Call("GetScheduleGroup", {"Name": "{id}"}),
        delete=Call("DeleteScheduleGroup", {"Name": "{id}"}),
        name="Name",
        attributes={
            "Arn": GROUP,
            "State": "State",
            "CreationDate": "CreationDate",
            "LastModificationDate": "LastModificationDate",
        },
        aspects=(tagging("scheduler", "TagResource", "UntagResource", "ResourceArn", "TagKeys", GROUP),),
    ),
    "AWS::CloudWatch::Alarm": Kind(
        "cloudwatch",
        create="PutMetricAlarm",
        update=Call("PutMetricAlarm", {"AlarmName": "{id}"}),
        describe=Call("DescribeAlarms", {"AlarmNames": "{id}"}, "MetricAlarms.0"),
        delete=Call("DeleteAlarms", {"AlarmNames": "{id}"}),
        name="AlarmName",
        name_length=255,
        unique=True,
        attributes={"Arn": ALARM},
        aspects=(tagging("cloudwatch", "TagResource", "UntagResource", "ResourceARN", "TagKeys", ALARM),),
    ),
    "AWS::CloudWatch::CompositeAlarm": Kind(
        "cloudwatch",
        create="PutCompositeAlarm",
        update=Call("PutCompositeAlarm", {"AlarmName": "{id}"}),
        describe=Call(
            "DescribeAlarms", {"AlarmNames": "{id}", "AlarmTypes": "CompositeAlarm"}, "CompositeAlarms.0"
        ),
        delete=Call("DeleteAlarms", {"AlarmNames": "{id}"}),
        name="AlarmName",
        name_length=255,
        unique=True,
        attributes={"Arn": ALARM},
        aspects=(tagging("cloudwatch", "TagResource", "UntagResource", "ResourceARN", "TagKeys", ALARM),),
    ),
    "AWS::CloudWatch::Dashboard": Kind(
        "cloudwatch",
        create="PutDashboard",
        update=Call("PutDashboard", {"DashboardName": "{id}"}),
        describe=Call("GetDashboard", {"DashboardName": "{id}"}, "DashboardName"),
        delete=Call("DeleteDashboards", {"DashboardNames": "{id}"}),
        name="DashboardName",
        name_length=255,
        unique=True,
    ),
    "AWS::Events::Rule": Kind(
        "events",
        create="PutRule",
        update=Call("PutRule", {"Name": "{id}", "EventBusName": "{EventBusName}"}),
        describe=Call("DescribeRule", {"Name": "{id}", "EventBusName": "{EventBusName}"}, "Arn"),
        delete=Call("DeleteRule", {"Name": "{id}", "EventBusName": "{EventBusName}"}),
        name="Name",
        unique=True,
        attributes={"Arn": "", "RuleName": "{id}"},
        aspects=(
            Aspect(("Targets",), _targets, undone=True),
            tagging("events", "TagResource", "UntagResource", "ResourceARN", "TagKeys", RULE),
        ),
    ),
    "AWS::SNS::Topic": Kind(
        "sns",
        create="CreateTopic",
        describe=Call("GetTopicAttributes", {"TopicArn": TOPIC}, "Attributes"),
        delete=Call("DeleteTopic", {"TopicArn": "{id}"}),
        id="TopicArn",
        name="TopicName",
        name_length=256,
        renamed={"TopicName": "Name"},
        prepared=_topic,
        consumed=TOPIC_ATTRIBUTES,
        unique=True,
        attributes={"TopicArn": "{id}", "TopicName": "{name}"},
        aspects=(
            Aspect(TOPIC_ATTRIBUTES, _topic_attributes),
            Aspect(("Subscription",), _topic_subscriptions),
            tagging("sns", "TagResource", "UntagResource", "ResourceArn", "TagKeys"),
        ),
    ),
    "AWS::SNS::TopicPolicy": Kind(
        "sns",
        attributes={"Id": "{id}"},
        aspects=(Aspect(("PolicyDocument", "Topics"), _topic_policies, undone=True),),
    ),
    "AWS::SNS::Subscription": Kind(
        "sns",
        create="Subscribe",
        delete=Call("Unsubscribe", {"SubscriptionArn": "{id}"}),
        id="SubscriptionArn",
        prepared=_subscription,
        consumed=SUBSCRIPTION_ATTRIBUTES,
        attributes={"Arn": "{id}"},
        aspects=(Aspect(SUBSCRIPTION_ATTRIBUTES, _subscription_attributes),),
    ),
    "AWS::SQS::Queue": Kind(
        "sqs",
        create="CreateQueue",
        describe=Call("GetQueueUrl", {"QueueName": "{name}"}, "QueueUrl"),
        delete=Call("DeleteQueue", {"QueueUrl": "{id}"}),
        id="QueueUrl",
        name="QueueName",
        name_length=80,
        prepared=_queue,
        consumed=QUEUE_ATTRIBUTES,
        unique=True,
        attributes={
            "Arn": "arn:aws:sqs:{region}:{account}:{name}",
            "QueueName": "{name}",
            "QueueUrl": "{id}",
        },
        aspects=(
            Aspect(QUEUE_ATTRIBUTES, _queue_attributes),
            tagging("sqs", "TagQueue", "UntagQueue", "QueueUrl", "TagKeys"),
        ),
    ),
    "AWS::SQS::QueuePolicy": Kind(
        "sqs",
        attributes={"Id": "{id}"},
        aspects=(Aspect(("PolicyDocument", "Queues"), _queue_policies, undone=True),),
    ),
    "AWS::Budgets::Budget": Kind(
        "budgets",
        create="CreateBudget",
        delete=Call("DeleteBudget", {"BudgetName": "{id}", "AccountId": "{account}"}),
        name="Budget.BudgetName",
        prepared=_budget,
        consumed=("Budget", "NotificationsWithSubscribers"),
        refused=("ResourceTags",),
        attributes={"Id": "{id}"},
        aspects=(Aspect(("Budget",), _budget_change),),
    ),
}
