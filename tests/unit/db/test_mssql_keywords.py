"""A parameter of a SQL Server URL that the driver would ignore or refuse is found without connecting."""

from itertools import zip_longest
from urllib.parse import quote

import pytest

from tests.testkit.odbc import require_microsoft_driver, require_pyodbc
from worker.db.database_url import parse_url
from worker.db.mssql.driver import wheel_library
from worker.db.mssql.keywords import KEYWORDS, VALUES
from worker.rules.errors import ConfigurationError

NEWER = {"ConnectTimeout"}
"""Of version 18.7 of the driver; the wheel may have an older one."""

URL = "mssql+aioodbc://rudder:geheim@db.example:1433/rudder"


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("TrustServerCertificat=yes", "trustservercertificat, .*; did you mean TrustServerCertificate"),
        ("nobody_knows=1", "nobody_knows, which is no keyword of ODBC Driver 18 for SQL Server$"),
        ("Encrypt=maybe", "Encrypt that is not yes, no, mandatory, optional, strict"),
        ("TrustServerCertificate=true", "TrustServerCertificate that is not yes, no"),
        ("ConnectRetryCount=256", "ConnectRetryCount that is not a number from 0 to 255"),
        ("ApplicationIntent=ReadOnly", "ApplicationIntent that is not ReadWrite"),
        ("driver=ODBC+Driver+17+for+SQL+Server&Encript=yes", "did you mean Encrypt"),
        ("server=other", "server after the question mark; write the host before it"),
        ("UID=other", "uid after the question mark; write the user before it"),
        ("port=1", "port after the question mark"),
        ("autocommit=maybe", "autocommit, which the worker decides itself"),
        ("encrypt=yes&Encrypt=no", "twice"),
        ("encrypt=yes&encrypt=no", "twice"),
    ],
)
def test_wrong_parameter_is_one_line(query: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        parse_url(f"{URL}?{query}")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Server=db;PWD=geheim;Encript=yes", "did you mean Encrypt"),
        ("Server=db;PWD={ge=he;im};Encrypt=maybe", "Encrypt that is not"),
        ("Server", "no list of keyword=value; pairs"),
    ],
)
def test_wrong_connection_string_is_one_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        parse_url(f"mssql+aioodbc:///?odbc_connect={quote(text, safe='')}")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        f"{URL}?encrypt=STRICT&TrustServerCertificate=Yes&APP=night-shift",
        f"{URL}?driver=Mine&Anything=1",  # another driver's own
        "mssql+aioodbc://rudder:geheim@production?Anything=1",  # a data source names its own driver
        "mssql+aioodbc:///?odbc_connect=Driver%3DMine%3BAnything%3D1",
        "mssql+aioodbc:///?odbc_connect=Server%3Ddb%3BUID%3Du%3BPWD%3D%7Ba%3Bb%7D%7D%7D%3BEncrypt%3Dno%3B",
    ],
)
def test_known_parameters_are_accepted(url: str) -> None:
    parse_url(url)


def test_driver_accepts_and_refuses_the_same_values() -> None:
    """Microsoft's driver itself, which checks the values before it connects."""
    pyodbc = require_pyodbc()
    library = require_microsoft_driver()

    def refused(pairs: str) -> bool:
        with pytest.raises(pyodbc.Error) as caught:
            pyodbc.connect(f"Driver={{{library}}};Server=127.0.0.1,1;UID=u;PWD=p;{pairs}", timeout=1)
        return "Invalid value specified" in str(caught.value)

    assert [keyword for keyword in VALUES if not refused(f"{keyword}=nonsense")] == []
    names = [keyword for keyword in VALUES if keyword != "Trusted_Connection"]  # Kerberos is another way to log in
    for values in zip_longest(*[(VALUES[name][0], *VALUES[name][-4:]) for name in names]):
        pairs = ";".join(f"{name}={value}" for name, value in zip(names, values, strict=True) if value)
        assert not refused(pairs), pairs


def test_every_keyword_is_in_the_driver() -> None:
    """As text in the library itself: a keyword that is written wrong here would let a wrong URL pass."""
    library = wheel_library()
    assert library is not None
    content = library.read_bytes().lower()
    missing = {keyword for keyword in KEYWORDS if keyword.lower().encode("utf-16-le") not in content}
    assert missing <= NEWER
