"""Nothing in these files belongs to somebody: no secrets, no registry, no machine of ours."""

import re

import pytest

from tests.cluster.cluster_files import FILES, name, resources

pytestmark = pytest.mark.parametrize("path", FILES, ids=name)


def test_no_credentials(path):
    text = path.read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|aws_secret|\"private_key\"|AIza[\w-]{30}", text)
    assert not re.search(r"(?<!@sha256:)\b[0-9a-fA-F]{32,}\b", text), "this looks like a token"
    assert not re.search(r"^\s*(redis)?[pP]assword: [^{\s]", text, re.MULTILINE)
    assert not [x for file, x in resources() if file == path and x["kind"] == "Secret"]


def test_no_registry(path):
    hosts = (
        r"[\w-]+\.(?:io|com|dev|org|net|amazonaws\.com)/[\w./-]*fer-jobs|docker\.io|ghcr|quay\.io|gcr\.io|pkg\.dev|pypi"
    )
    assert not re.search(hosts, path.read_text())


def test_no_path_of_a_machine_of_ours(path):
    assert not re.search(r"(?:/work|/root|/home/(?!ray\b))\b", path.read_text())
