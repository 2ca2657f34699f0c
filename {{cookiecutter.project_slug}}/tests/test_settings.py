from ml_pipeline import settings


def test_settings_toml_is_valid_in_every_environment():
    assert [settings.load(env).env for env in settings.ENVIRONMENTS] == list(settings.ENVIRONMENTS)
