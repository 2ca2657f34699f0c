"""Costs, promotion and uploads: what is computed, and how AWS is asked."""

import hashlib
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.stub import Stubber
from botocore.validate import ParamValidator
from conftest import ACCOUNT, REGION

from ml_pipeline import executions, results, secrets, storage
from ml_pipeline.cloud import costs, image_copy, joblogs, operate, promote, upload
from ml_pipeline.cloud.costs import Expectation, Usage
from ml_pipeline.cloud.image_copy import Repository
from ml_pipeline.errors import InputError

PRICES = {"ml.m5.large": 0.36, "ml.m5.xlarge": 0.72}


def test_a_job_costs_its_billed_seconds_on_each_of_its_machines():
    usages = [Usage("a", "ml.m5.large", 1, 100.0), Usage("b", "ml.m5.xlarge", 2, 50.0)]
    assert costs.usd(usages, PRICES) == pytest.approx(0.01 + 0.02)


def test_a_machine_without_a_price_leaves_the_cost_unknown_by_name():
    usages = [Usage("a", "ml.m5.large", 1, 100.0), Usage("b", "ml.p9.huge", 1, 1.0)]
    assert costs.usd(usages, PRICES) is None
    told = costs.price(costs.usd(usages, PRICES), costs.unpriced(usages, PRICES))
    assert told == "cost unknown: no price for ml.p9.huge (settings.toml, [prices])"


def test_nothing_is_expected_before_an_execution_has_succeeded():
    assert "unknown" in Expectation(0, 0.0, None, ()).told()
    assert (
        Expectation(3, 754.0, 0.1234, ()).told()
        == "expected: about 13 min, USD 0.12 (as the last 3 succeeded)"
    )


def test_a_batch_job_is_billed_from_its_start_to_its_end():
    start = datetime(2027, 1, 1, tzinfo=UTC)
    answer = {"TransformStartTime": start, "TransformEndTime": start + timedelta(seconds=90)}
    machine = {"InstanceType": "ml.m5.large", "InstanceCount": 3}
    assert costs._timed("job", machine, answer, "Transform") == Usage("job", "ml.m5.large", 3, 90)
    del answer["TransformStartTime"]  # it was stopped before it had a machine
    assert costs._timed("job", machine, answer, "Transform") == Usage("job", "ml.m5.large", 3, 0)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ],
)
def test_the_console_is_that_of_the_partition(settings, region, host):
    address = operate.console(settings(project={"region": region}))
    assert address == f"https://{host}/sagemaker/home?region={region}#/jobs"


def test_the_jobs_that_steps_have_started_are_stopped_and_one_that_has_ended_is_left(monkeypatch):
    client = boto3.client(
        "sagemaker", region_name=REGION, aws_access_key_id="AKIA", aws_secret_access_key="no"
    )
    moment, wanted = datetime(2027, 1, 1, tzinfo=UTC), {"NameContains": "abc", "StatusEquals": "InProgress"}

    def listed(kind: str, **more: object) -> dict[str, list[dict[str, object]]]:
        job = {
            f"{kind}Name": f"loans-{kind}-abc-1",
            f"{kind}Arn": f"arn/{kind}",
            f"{kind}Status": "InProgress",
        }
        return {f"{kind}Summaries": [job | {"CreationTime": moment} | more]}

    counters = {
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
        "Strategy": "Bayesian",
    }
    with Stubber(client) as stub:
        monkeypatch.setattr(boto3, "client", lambda service: client)
        tuning = listed("HyperParameterTuningJob", **counters)
        stub.add_response("list_hyper_parameter_tuning_jobs", tuning, wanted)
        name = {"HyperParameterTuningJobName": "loans-HyperParameterTuningJob-abc-1"}
        stub.add_response("stop_hyper_parameter_tuning_job", {}, name)
        stub.add_response("list_transform_jobs", listed("TransformJob"), wanted)
        stub.add_client_error("stop_transform_job", "ValidationException", "it is in status Completed")
        stub.add_response("list_processing_jobs", {"ProcessingJobSummaries": []}, wanted)
        assert executions.stop_children("arn:aws:x/execution/abc") == list(name.values())
        stub.assert_no_pending_responses()


def execution_arn(name):
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/loans-local-train/execution/{name}"


@pytest.fixture
def find(settings, monkeypatch):
    """`executions.find` among abxy, the newest, efgh and abcd."""
    client = boto3.client("sagemaker", region_name=REGION, aws_access_key_id="A", aws_secret_access_key="b")
    found = [{"PipelineExecutionArn": execution_arn(name)} for name in ("abxy", "efgh", "abcd")]
    with Stubber(client) as stub:
        monkeypatch.setattr(boto3, "client", lambda service: client)
        wanted = {"PipelineName": "loans-local-train", "SortOrder": "Descending"}
        stub.add_response("list_pipeline_executions", {"PipelineExecutionSummaries": found}, wanted)
        yield lambda given: executions.find(given, "train", settings())


@pytest.mark.parametrize(
    ("given", "name"), [(None, "abxy"), ("e", "efgh"), ("abc", "abcd"), (execution_arn("abcd"), "abcd")]
)
def test_an_execution_is_found_by_its_id_the_beginning_of_it_or_its_arn(find, given, name):
    assert find(given) == execution_arn(name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ab", "execution 'ab' fits more than one of loans-local-train; the newest are: abxy, abcd"),
        (
            "z",
            "execution 'z' fits none of loans-local-train; the newest are: abxy, efgh, abcd "
            "(--pipeline score looks among the others)",
        ),
        (
            "",
            "execution '' fits none of loans-local-train; the newest are: abxy, efgh, abcd "
            "(--pipeline score looks among the others)",
        ),
    ],
)
def test_what_fits_not_exactly_one_execution_is_refused(find, given, message):
    with pytest.raises(InputError) as refused:
        find(given)
    assert str(refused.value) == message


def test_a_period_is_marked_complete_after_its_file(bucket, settings, tmp_path, monkeypatch):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    written = []
    for name in ("upload", "mark_success", "delete"):
        keep = getattr(storage, name)
        monkeypatch.setattr(
            storage,
            name,
            lambda *given, keep=keep, name=name: (written.append((name, given[-1])), keep(*given)),
        )
    folder = f"s3://{bucket}/raw/2027-01-01"
    upload.upload([path], "raw", "2027-01-01", False, settings())
    upload.upload([path], "raw", "2027-01-01", True, settings())
    first = [("upload", f"{folder}/data.csv"), ("mark_success", folder)]
    assert written == [*first, ("delete", f"{folder}/_SUCCESS"), *first]


def test_an_upload_before_the_deployment_names_the_command_that_makes_the_bucket(bucket, settings, tmp_path):
    elsewhere = replace(settings(), env="dev", suffix="ana")
    with pytest.raises(InputError, match="`python -m ml_pipeline deploy --env dev --suffix ana` makes it"):
        upload.upload([tmp_path / "data.csv"], "raw", "2027-01-01", False, elsewhere)


class Pages:
    """CloudWatch Logs of one stream whose second page is empty, as a page before the last one may be."""

    def __init__(self, *_):
        self.pages = {
            None: ([], "a"),
            "a": (["first"], "b"),
            "b": ([], "c"),
            "c": (["second"], "d"),
            "d": ([], "d"),
        }

    def describe_log_streams(self, **_):
        return {"logStreams": [{"logStreamName": "job/algo-1"}]}

    def get_log_events(self, nextToken=None, **_):
        lines, token = self.pages[nextToken]
        return {"events": [{"message": line} for line in lines], "nextForwardToken": token}


def test_an_empty_page_does_not_end_a_log(monkeypatch):
    step = {"Metadata": {"TrainingJob": {"Arn": "arn:aws:sagemaker:eu-west-1:1:training-job/job"}}}
    monkeypatch.setattr(boto3, "client", Pages)
    assert results.log_lines(step) == ["first", "second"]
    assert list(joblogs._Tail(step).new()) == ["first", "second"]


def test_a_step_reads_the_secrets_that_settings_name_and_no_other(bucket, settings):
    client = boto3.client("secretsmanager", region_name=REGION)
    arns = {
        "key": client.create_secret(Name="key", SecretString="value")["ARN"],
        "bytes": client.create_secret(Name="bytes", SecretBinary=b"\0")["ARN"],
    }
    client.create_secret(Name="other", SecretString="hidden")
    named = replace(settings(), secrets=arns)
    assert secrets.secret("key", named) == "value"
    with pytest.raises(
        secrets.SecretError, match=r"no secret 'other' in settings\.toml, \[secrets\]; .* key, bytes"
    ):
        secrets.secret("other", named)
    with pytest.raises(secrets.SecretError, match=r"bytes .* holds bytes"):
        secrets.secret("bytes", named)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((None, "staging"), ("dev", "staging")),
        ((None, "prod"), ("staging", "prod")),
        (("dev", "prod"), ("dev", "prod")),
    ],
)
def test_a_version_comes_from_the_environment_before(given, found):
    assert promote.route(*given) == found


PACKAGE = {
    "ModelApprovalStatus": "Approved",
    "ModelPackageDescription": "Predicts approved; registered by execution abc",
    "InferenceSpecification": {
        "Containers": [
            {
                "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/loans-dev:abc",
                "ImageDigest": "sha256:1",
                "ModelDataUrl": "s3://dev-bucket/executions/abc/train/model.tar.gz",
                "ModelDataETag": "e",
            }
        ],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    },
    "ModelMetrics": {
        "Bias": {
            "Report": {
                "ContentType": "application/json",
                "S3Uri": "s3://dev-bucket/executions/abc/bias/analysis.json",
            }
        }
    },
    "CustomerMetadataProperties": {
        "verdict_uri": "s3://dev-bucket/executions/abc/bias/verdict.json",
        "data_uri": "s3://dev-bucket/raw/2027-01-01/",
    },
    "ModelCard": {
        "ModelCardContent": '{"v": "s3://dev-bucket/executions/abc/x"}',
        "ModelCardStatus": "Draft",
    },
    "CreatedBy": {},
}
SOURCE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/loans-dev/3"


def test_what_is_registered_anew_is_a_request_that_the_service_model_accepts(settings):
    client = boto3.client("sagemaker", region_name=REGION)
    shape = client.meta.service_model.operation_model("CreateModelPackage").input_shape
    made = promote.package_request(SOURCE, PACKAGE, "image:abc", "dev-bucket", settings())
    assert not ParamValidator().validate(made, shape).has_errors()
    assert len(made["ClientToken"]) == 36 and made["ModelApprovalStatus"] == "PendingManualApproval"


def test_what_is_registered_anew_names_nothing_of_the_source_but_its_version(settings):
    made = promote.package_request(SOURCE, PACKAGE, "image:abc", "dev-bucket", settings())
    container = made["InferenceSpecification"]["Containers"][0]
    model = f"s3://{settings().bucket}/executions/abc/train/model.tar.gz"
    assert container == {"Image": "image:abc", "ModelDataUrl": model}
    assert made["CustomerMetadataProperties"]["promoted_from"] == SOURCE
    named = re.findall(r"s3://dev-bucket/[^\"]*", json.dumps(made))
    assert named == ["s3://dev-bucket/raw/2027-01-01/"]  # the data are not copied, and stay where they are


def test_the_objects_that_travel_are_those_that_the_version_names():
    keys = ("bias/analysis.json", "bias/verdict.json", "train/model.tar.gz")
    found = sorted(promote.places(PACKAGE, "dev-bucket"))
    assert found == [f"s3://dev-bucket/executions/abc/{key}" for key in keys]


def test_the_thresholds_beside_the_baselines_travel_though_no_package_names_them(bucket, settings):
    source, _ = two_places(settings)
    place = f"s3://{source.settings.bucket}/executions/abc"
    package = {
        "DriftCheckBaselines": {
            "ModelDataQuality": {"Constraints": {"S3Uri": f"{place}/process/constraints.json"}},
            "Bias": {"PostTrainingConstraints": {"S3Uri": f"{place}/bias/analysis.json"}},
        }
    }
    storage.write_bytes(f"{place}/process/thresholds.json", b"{}")
    assert list(promote.thresholds(package, source)) == [f"{place}/process/thresholds.json"]


def two_places(settings) -> tuple[promote.Place, promote.Place]:
    """Two environments in one account, each with a bucket."""
    session = boto3.Session(region_name=REGION)
    places = []
    for env in ("dev", "staging"):
        own = replace(settings(), env=env)
        where = {"LocationConstraint": REGION}
        session.client("s3").create_bucket(Bucket=own.bucket, CreateBucketConfiguration=where)
        places.append(promote.Place(own, session))
    return places[0], places[1]


def test_an_object_that_is_there_with_other_bytes_is_never_overwritten(bucket, settings):
    source, target = two_places(settings)
    uri = f"s3://{source.settings.bucket}/executions/abc/bias/analysis.json"
    there = f"s3://{target.settings.bucket}/executions/abc/bias/analysis.json"
    storage.write_bytes(uri, b"one")
    storage.write_bytes(there, b"other")
    with pytest.raises(promote.PromotionFailed, match=hashlib.sha256(b"other").hexdigest()):
        promote.copy_objects([uri], source, target)
    assert storage.read_bytes(there) == b"other"
    assert storage.list_uris(f"s3://{target.settings.bucket}/") == [(there, 5)]


def test_an_environment_of_the_same_account_is_entered_with_the_credentials_at_hand(bucket, settings):
    source, _ = two_places(settings)
    entered = promote._entered(replace(settings(), env="prod", account=""), source, "")
    assert entered.session is source.session and entered.settings.account == source.settings.account


def test_another_account_is_entered_by_a_profile_of_its_own(bucket, settings, tmp_path, monkeypatch, capsys):
    source, _ = two_places(settings)
    account = "210987654321"
    role = f"arn:aws:iam::{account}:role/deployer"
    keys = source.client("sts").assume_role(RoleArn=role, RoleSessionName="ana")["Credentials"]
    file = tmp_path / "config"
    file.write_text(
        f"[profile production]\naws_access_key_id = {keys['AccessKeyId']}\n"
        f"aws_secret_access_key = {keys['SecretAccessKey']}\naws_session_token = {keys['SessionToken']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    wanted = settings(deploy={"account": account})
    entered = promote._entered(wanted, source, "production")
    assert entered.client("sts").get_caller_identity()["Account"] == account == entered.settings.account
    assert f"account {account}, region" in capsys.readouterr().out
    with pytest.raises(InputError, match=f"is in account {account}, these credentials work in {ACCOUNT}: "):
        promote._entered(wanted, source, "")
    with pytest.raises(InputError, match=f"profile production work in {account}: "):
        promote._entered(settings(deploy={"account": ACCOUNT}), source, "production")
    with pytest.raises(InputError, match=r"--to-profile nobody: The config profile \(nobody\)"):
        promote._entered(wanted, source, "nobody")


def test_a_tag_that_is_another_image_in_the_target_is_refused(bucket):
    client = boto3.client("ecr", region_name=REGION)
    kind = "application/vnd.oci.image.manifest.v1+json"
    for name in ("one", "other"):
        client.create_repository(repositoryName=name)
        text = json.dumps({"schemaVersion": 2, "mediaType": kind, "layers": [{"digest": name}]})
        client.put_image(repositoryName=name, imageManifest=text, imageTag="abc")
    with pytest.raises(InputError, match=r"other:abc is another image .* than one:abc"):
        image_copy.copy(Repository(client, "one"), Repository(client, "other"), "abc")
    with pytest.raises(InputError, match="repository one has no image xyz"):
        image_copy.copy(Repository(client, "one"), Repository(client, "other"), "xyz")
    with pytest.raises(InputError, match=r"no image repository t-hird: .* deploy --env hird"):
        image_copy.copy(Repository(client, "one"), Repository(client, "t-hird"), "abc")


def test_a_layer_that_was_read_with_other_bytes_is_not_passed_on(tmp_path):
    (tmp_path / "layer").write_bytes(b"layer")
    url, digest = (tmp_path / "layer").as_uri(), f"sha256:{hashlib.sha256(b'layer').hexdigest()}"
    read = io.BytesIO()
    image_copy._download(url, read, digest)
    assert read.getvalue() == b"layer"
    with pytest.raises(image_copy.CopyFailed, match=f"layer sha256:other was read as {digest}"):
        image_copy._download(url, io.BytesIO(), "sha256:other")
    with pytest.raises(image_copy.CopyFailed, match=r"layer sha256:other cannot be read: .*absent"):
        image_copy._download((tmp_path / "absent").as_uri(), io.BytesIO(), "sha256:other")
