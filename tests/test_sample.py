from make_sample import PATH, sample_csv


def test_the_sample_data_is_what_its_script_makes():
    assert PATH.read_bytes() == sample_csv().encode()
