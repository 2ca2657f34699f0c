"""What plan shows is what differs, not what every compilation makes anew."""

from __future__ import annotations

import io
import json
import zipfile

from ml_pipeline.cloud import definition_diff, plan


def definition(time: str, key: str, content: str, tag: str, instance: str = "ml.m5.large") -> str:
    step = {
        "Name": "Train",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingImage": f"1.dkr.ecr.x.amazonaws.com/demo-dev:{tag}"},
            "InputDataConfig": [
                {"ChannelName": time, "S3Uri": f"s3://b/code/{content}/demo/{time}/workspace.zip"}
            ],
            "ResourceConfig": {"InstanceType": instance},
            "Environment": {"REMOTE_FUNCTION_SECRET_KEY": key},
        },
    }
    return json.dumps({"Steps": [step]})


FIRST = definition("2026-11-25-18-01-14-204", "KEY ONE", "a" * 32, "1" * 16)


def test_times_keys_and_hashes_are_no_difference():
    again = definition("2027-01-02-03-04-05-678", "KEY TWO", "b" * 32, "2" * 16)
    assert definition_diff.normalised(FIRST) == definition_diff.normalised(again)


def test_an_instance_type_is_a_difference_of_one_line():
    other = definition("2027-01-02-03-04-05-678", "KEY TWO", "b" * 32, "2" * 16, "ml.m5.xlarge")
    lines = definition_diff.unified("definition.json", *map(definition_diff.normalised, (FIRST, other)))
    changed = [line for line in lines if line.startswith(("+ ", "- "))]
    assert changed == ['-     "InstanceType": "ml.m5.large"', '+     "InstanceType": "ml.m5.xlarge"']


def test_code_is_compared_with_the_archive_that_the_steps_unpack():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("sagemaker_remote_function_workspace/ml_pipeline/a.py", "one\n")
        archive.writestr("sagemaker_remote_function_workspace/ml_pipeline/gone.py", "old\n")
    before = definition_diff.archived(buffer.getvalue())
    lines = definition_diff.between(before, {"ml_pipeline/a.py": "two\n"})
    assert [line for line in lines if line[0] in "+-" and line[1] not in "+-"] == ["-one", "+two", "-old"]
    assert definition_diff.workspaces(FIRST) == {
        f"s3://b/code/{'a' * 32}/demo/2026-11-25-18-01-14-204/workspace.zip"
    }


def test_settings_differ_by_key():
    before, after = ({"train": {"seed": seed, "spot": True}, "env": "dev"} for seed in (1, 2))
    lines = definition_diff.unified("settings", definition_diff.flat(before), definition_diff.flat(after))
    assert [line for line in lines if line.startswith(("+t", "-t"))] == ["-train.seed = 1", "+train.seed = 2"]


def test_a_comment_fits_into_a_pull_request_however_much_changes(settings):
    lines = tuple(f"+{'x' * 80}" for _ in range(2000))
    text = plan._markdown(settings(), [plan.Finding("code: differs", True, lines)] * 3)
    assert len(text) < 65_536 and "cut here" in text
    assert text.count("<details>") == text.count("</details>") == 3
