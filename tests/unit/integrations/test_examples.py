"""The files of integrations/: each has the whole script, and docs/how-to/publish-from-ci.md shows what they contain."""

import textwrap

import pytest
import yaml

from schemas.mapping import Mapping
from tests.end_to_end.pages import DOCS, Block, blocks
from tests.testkit.pipeline_tools import INTEGRATIONS, SCRIPT
from worker.mapping_file import load_mapping

PAGE = (DOCS / "how-to" / "publish-from-ci.md").read_text("utf-8")
SHOWN = [block for block in blocks(PAGE) if block.language in {"yaml", "groovy"} and "- component:" not in block.text]


def embedded_scripts() -> dict[str, str]:
    """What the CI systems give to a shell."""
    action = yaml.safe_load((INTEGRATIONS / "github-action" / "action.yml").read_text("utf-8"))
    template = (INTEGRATIONS / "gitlab-component" / "templates" / "deployment.yml").read_text("utf-8")
    _, jobs = yaml.safe_load_all(template.replace("$[[ inputs.job ]]:", "job:"))
    task = yaml.safe_load((INTEGRATIONS / "tekton" / "task.yaml").read_text("utf-8"))
    return {
        "action": action["runs"]["steps"][0]["run"],
        "component, before": jobs["job"]["before_script"][0],
        "component, after": jobs["job"]["after_script"][0],
        "task": task["spec"]["steps"][0]["script"],
    }


@pytest.mark.parametrize("name", ["action", "component, before", "component, after", "task"])
def test_embedded_script_is_the_shared_one(name: str) -> None:
    """`make reference` copies it."""
    script = SCRIPT.read_text("utf-8").partition("\n")[2]
    found = embedded_scripts()[name]
    assert script in found or textwrap.indent(script, "  ") in found


@pytest.mark.parametrize("substitution", ["${{", "$[[", "$(params.", "$(context.", "$(tasks."])
def test_script_has_nothing_that_a_ci_system_replaces(substitution: str) -> None:
    assert substitution not in SCRIPT.read_text("utf-8")


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: f"line {block.line}")
def test_page_shows_parts_of_the_examples(block: Block) -> None:
    text = "\n".join(path.read_text("utf-8") for path in INTEGRATIONS.rglob("*") if path.is_file())
    lines = [line.strip() for line in text.splitlines()]
    shown = [line.strip() for line in block.text.splitlines()]
    assert any(lines[start : start + len(shown)] == shown for start in range(len(lines)))


def test_monorepo_mapping_is_valid() -> None:
    assert isinstance(load_mapping(INTEGRATIONS / "monorepo" / "mapping.yaml"), Mapping)
