"""A SQL Server URL gets the usual options as defaults; options that the URL sets are kept."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.testkit.odbc import require_pyodbc
from worker.db.mssql.driver import REGISTERED_NAME, Drivers, completed, wheel_library
from worker.db.mssql.url import is_freetds
from worker.db.url_parts import url_parts
from worker.rules.errors import ConfigurationError

URL = "mssql+aioodbc://rudder:geheim@db.example:1433/rudder"
LIBRARY = Path("/opt/wheel/libmsodbcsql-18.6.so.2.1")


def drivers(
    registered: Sequence[str] = (), library: Path | None = LIBRARY, loading: Exception | None = None
) -> Drivers:
    def load(_path: str) -> None:
        if loading:
            raise loading

    return Drivers(registered=lambda: registered, wheel=lambda: library, load=load)


def options(url: str, known: Drivers) -> dict[str, object]:
    return dict(completed(url_parts(url), known).query)


def test_registered_driver_is_preferred_to_the_wheels() -> None:
    assert options(URL, drivers(["FreeTDS", REGISTERED_NAME]))["driver"] == REGISTERED_NAME
    assert options(URL, drivers(["FreeTDS"]))["driver"] == str(LIBRARY)


def test_missing_driver_is_one_line_with_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match="msodbcsql18") as caught:
        options(URL, drivers(library=None))
    assert "rudder-worker[mssql]" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_missing_dependency_of_the_library_is_named() -> None:
    lacking = OSError("libgssapi_krb5.so.2: cannot open shared object file")
    with pytest.raises(ConfigurationError, match=r"libgssapi_krb5\.so\.2.*apt-get install"):
        options(URL, drivers(loading=lacking))


def test_encryption_and_application_name_are_defaults() -> None:
    assert options(URL, drivers()) == {
        "driver": str(LIBRARY),
        "encrypt": "yes",
        "app": "rudder-worker",
        "connectretrycount": "0",
    }
    given = options(f"{URL}?Encrypt=strict&APP=night-shift&Driver=Mine", drivers())
    assert given == {"driver": "Mine", "encrypt": "strict", "app": "night-shift", "connectretrycount": "0"}


def test_certificate_is_trusted_only_on_request() -> None:
    assert "trustservercertificate" not in options(URL, drivers())
    assert options(f"{URL}?TrustServerCertificate=yes", drivers())["trustservercertificate"] == "yes"


@pytest.mark.parametrize(
    "option",
    ["Authentication=ActiveDirectoryMsi", "MultiSubnetFailover=yes", "ServerSPN=MSSQLSvc/db", "Trusted_Connection=yes"],
)
def test_other_driver_options_pass_through(option: str) -> None:
    name, value = option.split("=")
    assert options(f"mssql+aioodbc://db.example/rudder?{option}", drivers())[name.lower()] == value


def test_entra_id_without_a_user_disables_kerberos() -> None:
    """SQLAlchemy knows the option in lower case only, and would add Trusted_Connection beside it."""
    require_pyodbc()
    query = options("mssql+aioodbc://db.example/rudder?Authentication=ActiveDirectoryMsi", drivers())
    url = make_url("mssql+aioodbc://db.example/rudder").set(query={name: str(value) for name, value in query.items()})
    _, arguments = url.get_dialect()().create_connect_args(url)
    assert "Authentication=ActiveDirectoryMsi" in arguments["dsn"]
    assert "Trusted_Connection" not in arguments["dsn"]


def test_odbc_connection_string_gets_only_the_driver_added() -> None:
    whole = "mssql+aioodbc:///?odbc_connect=Driver%3DMine%3BServer%3Ddb"
    assert options(whole, drivers()) == {"odbc_connect": "Driver=Mine;Server=db"}
    without = "mssql+aioodbc:///?odbc_connect=Server%3Ddb"
    assert options(without, drivers()) == {"odbc_connect": f"Driver={{{LIBRARY}}};Server=db"}
    source = "mssql+aioodbc:///?odbc_connect=DSN%3Dproduction"
    assert options(source, drivers(library=None)) == {"odbc_connect": "DSN=production"}


def test_data_source_name_keeps_its_driver() -> None:
    assert "driver" not in options("mssql+aioodbc://rudder:geheim@production", drivers(library=None))


def test_repeated_option_is_refused() -> None:
    for twice in ("Encrypt=yes&encrypt=no", "driver=a&driver=b"):
        with pytest.raises(ConfigurationError, match="twice"):
            options(f"{URL}?{twice}", drivers())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{URL}?driver=FreeTDS", True),
        (f"{URL}?Driver=/usr/lib/libtdsodbc.so", True),
        ("mssql+aioodbc:///?odbc_connect=Driver%3D%7BFreeTDS%7D%3BServer%3Ddb", True),
        (f"{URL}?driver=ODBC+Driver+18+for+SQL+Server", False),
        (URL, False),
        ("mssql+aioodbc://rudder:freetds@db.example/freetds", False),
    ],
)
def test_freetds_is_recognised_by_its_names(url: str, expected: bool) -> None:
    assert is_freetds(url_parts(url)) is expected


def test_wheel_has_a_library_for_this_machine() -> None:
    """The development requirements install it."""
    found = wheel_library()
    assert found is not None
    assert found.is_file()
