"""settings.toml is validated once, whole, and every refusal says where, what and what instead."""

import re

import pytest

from ml_pipeline import settings


@pytest.fixture(scope="module")
def text(make_project):
    return (make_project() / settings.FILE).read_text(encoding="utf-8")


@pytest.fixture
def load(text, tmp_path):
    def loaded(old="", new="", env="local"):
        assert old in text
        path = tmp_path / settings.FILE
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return settings.load(env, path)

    return loaded


def test_the_shipped_settings_are_valid_in_every_environment(load):
    assert [load(env=env).env for env in settings.ENVIRONMENTS] == list(settings.ENVIRONMENTS)


def test_an_environment_overrides_single_values_and_keeps_the_rest(load):
    local, prod = load(), load(env="prod")
    assert (local.tune.trials, prod.tune.trials) == (4, 20)
    assert prod.tune.ranges == local.tune.ranges


def test_whole_number_ranges_stay_whole_numbers(load):
    low, high, _ = load().tune.ranges["max_depth"]
    assert type(low) is int and type(high) is int


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials = 4", "trails = 4", "unknown key trails (settings.toml, [tune]); did you mean trials?"),
        ("trials = 4 ", "", "trials is missing (settings.toml, [tune])"),
        ("trials = 4", 'trials = "4"', "trials must be a whole number, got '4' (settings.toml, [tune])"),
        ("trials = 4", "trials = true", "trials must be a whole number, got True (settings.toml, [tune])"),
        ("trials = 4", "trials = -1", "trials must be in [0, 750], got -1 (settings.toml, [tune])"),
        ("trials = 4", "trials = 751", "trials must be in [0, 750], got 751 (settings.toml, [tune])"),
        (
            'account = ""',
            'account = "12345"',
            "account must be empty or the 12 digits of an AWS account, got '12345'",
        ),
        (
            "[secrets]",
            "[secrets]\ntoken = 'arn:aws:s3:::token'",
            "token must be the ARN of a Secrets Manager secret, got 'arn:aws:s3:::token'",
        ),
        (
            'email = ""',
            'email = "me"',
            "email must be empty or an e-mail address, got 'me' (settings.toml, [triggers])",
        ),
        (
            'score = "cron(0 5 ? * MON *)"',
            'score = "rate(0 days)"',
            "score must be what EventBridge Scheduler takes (rate() takes a whole number",
        ),
        ("[gate]", "[gates]", "unknown key gates (settings.toml); did you mean gate?"),
        (
            'problem = "binary"',
            'problem = "bin"',
            "problem must be one of binary, multiclass, regression, got 'bin' (settings.toml, [data])",
        ),
        (
            "max_wait_seconds = 7200",
            "max_wait_seconds = 600",
            "max_wait_seconds must be at least max_runtime_seconds (3600), got 600 (settings.toml, [train])",
        ),
        (
            "trial_max_wait_seconds = 2400",
            "trial_max_wait_seconds = 60",
            "trial_max_wait_seconds must be at least trial_max_runtime_seconds (1200), got 60",
        ),
        (
            'facets = ["sex"]',
            'facets = ["approved"]',
            "facets must be another column than target, got 'approved'",
        ),
        ('delimiter = ""', 'delimiter = "ab"', "delimiter must be empty or one character other than a quote"),
        ("columns = []", 'columns = ["a", "a"]', "columns must be names that differ, got ['a', 'a']"),
        (
            "test_fraction = 0.20",
            "test_fraction = 0.9",
            "must be above 0 and leave rows to train on, got 0.16 and 0.9",
        ),
        (
            "test_fraction = 0.20",
            "test_fraction = 0",
            "must be above 0 and leave rows to train on, got 0.16 and 0",
        ),
        (
            "validation_fraction = 0.16",
            "validation_fraction = 0",
            "must be above 0 and leave rows to train on",
        ),
        ("test_fraction = 0.20", "test_fraction = 0.84", "and leave rows to train on, got 0.16 and 0.84"),
        (
            'method = "stratified"',
            'method = "ordered"',
            "time must be the column that method = ordered needs, got ''",
        ),
        (
            'method = "stratified"',
            'method = "by_key"',
            "key must be the column that method = by_key needs, got ''",
        ),
        (
            "[env.prod.tune]",
            "[env.production.tune]",
            "unknown key production (settings.toml, [env]); known are: local, dev, staging, prod",
        ),
        (
            "eta = [0.02, 0.3",
            "eta = [0.3, 0.02",
            "eta must be from a lower to a higher number, got [0.3, 0.02]",
        ),
        (
            "eta = [0.02, 0.3",
            "eta = [0.3, 0.3",
            "eta must be from a lower to a higher number, got [0.3, 0.3]",
        ),
        (
            "num_round = 400",
            "num_round = 4.5",
            "num_round must be a whole number of rounds, at least 1, got 4.5",
        ),
        ("num_round = 400", "num_round = 0", "num_round must be a whole number of rounds, at least 1, got 0"),
        ('facets = ["sex"]', "facets = sex", "settings.toml is not valid TOML"),
        (
            "[gate.bias] ",
            "[gate.bias]\nDPPL = [0.1, -0.1]",
            "DPPL must be [lowest, highest], got [0.1, -0.1]",
        ),
        (
            "[gate.bias] ",
            "[gate.bias]\nDPLL = [-0.1, 0.1]",
            "unknown key DPLL (settings.toml, [gate.bias])",
        ),
        (
            "eta = 0.1",
            "etaa = 0.1",
            "unknown key etaa (settings.toml, [train.hyperparameters]); did you mean eta?",
        ),
        (
            "max_depth = [3",
            "max_dept = [3",
            "unknown key max_dept (settings.toml, [tune.ranges]); did you mean max_d",
        ),
        (
            'objective = ""',
            'objective = "validation:acc"',
            "objective must be empty or validation: and one of accur",
        ),
        (
            "[env.prod.tune]",
            '[env.local]\ndata.problem = "regression"\nsplit.method = "random"\ngate.metric = "auc"\n'
            "[env.prod.tune]",
            "metric must be empty or one of rmse, mae, r2 for regression, got 'auc' (settings.toml, [gate])",
        ),
        (
            "[monitor.thresholds] ",
            "[monitor.thresholds]\npsy = 0.2 ",
            "unknown key psy (settings.toml, [monitor.thresholds]); did you mean psi?",
        ),
        (
            "[monitor.thresholds] ",
            "[monitor.thresholds]\nrmse = 9.0 ",
            "unknown key rmse (settings.toml, [monitor.thresholds]); known are: psi, ks, chi_squared, ",
        ),
        (
            "[monitor.thresholds] ",
            "[monitor.thresholds]\nl_infinity = 0.2 ",
            "categorical_method must be LInfinity, since [monitor.thresholds] fixes l_infinity, got 'ChiSq",
        ),
        (
            "[env.prod.tune]",
            "[env.local]\ndata.facets = []\nmonitor.thresholds.DI = 0.2\n[env.prod.tune]",
            "facets must be at least one column, since [monitor.thresholds] fixes DI, got []",
        ),
        (
            "[env.prod.tune]",
            '[env.local]\ndata.group = ""\nmonitor.thresholds.CDDPL = 0.2\n[env.prod.tune]',
            "group must be a column, since [monitor.thresholds] fixes CDDPL, got ''",
        ),
        (
            "[env.prod.tune]",
            "[env.local]\ndata.ids = []\nmonitor.thresholds.auc = 0.8\n[env.prod.tune]",
            "ids must be at least one column, since [monitor.thresholds] fixes auc, and labels are joined by",
        ),
        (
            'timezone = "UTC"',
            'timezone = "Mars/Base"',
            "timezone must be what EventBridge Scheduler takes",
        ),
        ('metric = ""', 'metric = "rmse"', "metric must be empty or one of auc, pr_auc, logloss, brier"),
        ("[tags] ", "[tags]\nteam = 1 ", "team must be a text, got 1 (settings.toml, [tags])"),
        ('positive = "yes"', 'positive = ""', "positive must be the label that counts as 1, got ''"),
        ("facet_values = {}", "facet_values = { age = [40] }", "unknown key age (settings.toml, [data.facet"),
        (
            'group = "region"',
            'group = "approved"',
            "group must be another column than target, got 'approved'",
        ),
        ("exclude = []", 'exclude = ["approved"]', "exclude must be another column than target"),
        ('ids = ["applicant_id"]', 'ids = ["approved"]', "ids must be another column than target"),
        (
            "[env.prod.tune]",
            '[env.local.split]\nmethod = "by_key"\nkey = "approved"\n\n[env.prod.tune]',
            "key must be another column than target, got 'approved' (settings.toml, [split])",
        ),
        (
            'problem = "binary"',
            'problem = "regression"',
            "method must be random, ordered or by_key, since a regression has no classes, got 'stratified'",
        ),
        (
            "warm_start_parents = []",
            f"warm_start_parents = {list('abcdef')}",
            "warm_start_parents must be at most 5 names, got 6",
        ),
        (
            'instance_type = "ml.m5.large"',
            'instance_type = "m5.large"',
            "instance_type must be an instance type such as ml.m5.xlarge, got 'm5.large'",
        ),
        ('eta = [0.02, 0.3, "Logarithmic"]', "eta = [0.02, 0.3]", "eta must be a list of 3 values"),
        (
            "[env.prod.tune]",
            '[env.local.data]\nproblem = "multiclass"\npositive = ""\n[env.prod.tune]',
            "positive must be the class whose bias is measured, since facets are named, got ''",
        ),
        (
            "[env.prod.tune]",
            '[env.local]\ndata.problem = "regression"\nsplit.method = "random"\n'
            'train.class_weight = "balanced"\n[env.prod.tune]',
            "class_weight must be none, since a regression has no classes, got 'balanced'",
        ),
        (
            "[env.prod.tune]",
            "[env.local]\ndata.facets = []\ngate.bias.DPPL = [-0.1, 0.1]\n[env.prod.tune]",
            "facets must be at least one column, since [gate.bias] sets bounds, got []",
        ),
    ],
)
def test_a_bad_value_is_refused_with_its_place_and_what_is_allowed(load, old, new, message):
    with pytest.raises(settings.SettingsError) as refused:
        load(old, new)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_wait_seconds = 7200", "max_wait_seconds = 3600"),  # as long as max_runtime_seconds
        ("facet_values = {}", 'facet_values = { sex = ["female"] }'),
        (
            "[env.prod.tune]",
            '[env.local.data]\nproblem = "multiclass"\npositive = ""\nfacets = []\n[env.prod.tune]',
        ),
    ],
)
def test_what_is_just_allowed_is_taken(load, old, new):
    assert load(old, new).env == "local"


def test_a_whole_number_is_taken_where_any_number_may_be(load):
    hours = load("cool_down_hours = 24.0", "cool_down_hours = 24").triggers.cool_down_hours
    assert hours == 24.0 and type(hours) is float


def test_tags_secrets_and_prices_may_be_left_out(text, tmp_path):
    path = tmp_path / settings.FILE
    path.write_text(re.sub(r"^\[(?:tags|secrets|prices)\][^\[]*", "", text, flags=re.M), encoding="utf-8")
    made = settings.load("local", path)
    assert (made.tags, made.secrets, made.prices) == ({}, {}, {})


def test_a_file_in_another_encoding_is_refused_as_such(text, tmp_path):
    path = tmp_path / settings.FILE
    path.write_bytes(b"# gr\xfc\xdfe\n" + text.encode())
    with pytest.raises(settings.SettingsError, match=r"settings.toml is not valid TOML: .*utf-8"):
        settings.load("local", path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(settings.SettingsError, match="run this in the project's folder"):
        settings.load("local", tmp_path / "settings.toml")


def test_names_follow_slug_environment_account_and_region(load):
    from dataclasses import replace

    made = replace(load(env="staging"), account="111122223333", image_tag="abc")
    slug, region = made.project.slug, made.region
    assert made.bucket == f"{slug}-staging-111122223333-{region}"
    assert made.role_arn == f"arn:aws:iam::111122223333:role/{slug}-staging-execution"
    company = {"RolePath": "/ml/", "RolePrefix": "team-"}
    assert replace(made, deploy=replace(made.deploy, parameters=company)).role_arn == (
        f"arn:aws:iam::111122223333:role/ml/team-{slug}-staging-execution"
    )
    assert replace(made, env="dev", suffix="ana").bucket == f"{slug}-dev-ana-111122223333-{region}"
    assert made.image_uri == f"111122223333.dkr.ecr.{region}.amazonaws.com/{slug}-staging:abc"
    assert (
        made.uri("exec1", "train", "model.tar.gz")
        == f"s3://{made.bucket}/executions/exec1/train/model.tar.gz"
    )


@pytest.mark.parametrize(
    ("region", "partition", "domain"),
    [
        ("eu-west-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
    ],
)
def test_arns_and_hosts_are_those_of_the_regions_partition(load, region, partition, domain):
    made = load('region = "us-east-1"', f'region = "{region}"')
    assert made.role_arn.startswith(f"arn:{partition}:iam::")
    assert f".dkr.ecr.{region}.{domain}/" in made.image_uri
