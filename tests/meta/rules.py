"""Rules for our code that neither ruff nor mypy knows.

A rule is a function of a file's text and yields `line: what is wrong` for each breach.  It looks at
text alone, so `test_code_rules.py` can show it a breach and see that it bites.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

#: A suppression, its codes, and what follows them.
_SUPPRESSION = re.compile(
    r"#\s*(?:noqa(?P<noqa>:\s*[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)?"
    r"|type:\s*ignore(?P<ignore>\[[\w, -]+\])?"
    r"|pragma:\s*no cover(?P<cover>))(?P<reason>.*)"
)
_WHOLE_FILE = re.compile(r"#\s*(?:ruff:\s*noqa|flake8:\s*noqa|mypy:\s*ignore-errors)")
_REASON_LETTERS_MIN = 6

_SKIPS = {
    "pytest.skip",
    "pytest.xfail",
    "pytest.importorskip",
    "pytest.mark.skip",
    "pytest.mark.skipif",
    "pytest.mark.xfail",
    "unittest.skip",
    "unittest.skipIf",
    "unittest.skipUnless",
    "unittest.SkipTest",
}
_BROAD = {"Exception", "BaseException"}


def file_is_short(source: str) -> Iterator[str]:
    """A file has at most 600 lines."""
    count = source.count("\n")
    if count > FILE_LINES_MAX:
        yield f"1: {count} lines, at most {FILE_LINES_MAX}"


def functions_are_short(source: str) -> Iterator[str]:
    """A function has at most 70 lines, from its `def` on."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {count} lines, at most {FUNCTION_LINES_MAX}"


def suppressions_have_reasons(source: str) -> Iterator[str]:
    """A suppression names its codes and, behind them, its reason; whole files never are exempt."""
    for line, comment in _comments(source):
        if _WHOLE_FILE.search(comment):
            yield f"{line}: the whole file is exempt"
        for found in _SUPPRESSION.finditer(comment):
            if all(found[code] is None for code in ("noqa", "ignore", "cover")):
                yield f"{line}: a suppression without codes"
            elif len(re.findall(r"[^\W\d_]", found["reason"])) < _REASON_LETTERS_MIN:
                yield f"{line}: a suppression without a reason beside it"


def broad_handlers_have_reasons(source: str) -> Iterator[str]:
    """Who swallows every exception says why, on the same line (one that raises again need not)."""
    commented = {line for line, _ in _comments(source)}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call | ast.ExceptHandler) or node.lineno in commented:
            continue
        if _swallows_all(node):
            yield f"{node.lineno}: swallows every exception without a reason"


def no_test_is_left_out(source: str) -> Iterator[str]:
    """No skip and no expected failure: a part that is missing makes a test fail."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and _dotted(node) in _SKIPS:
            yield f"{node.lineno}: {_dotted(node)}"
        if isinstance(node, ast.ImportFrom):
            skips = _SKIPS & {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (f"{node.lineno}: {skip}" for skip in skips)


def no_test_sleeps(source: str) -> Iterator[str]:
    """A test waits for an event with a bound, or has its own clock."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and _dotted(node) == "time.sleep":
            yield f"{node.lineno}: time.sleep"
        if isinstance(node, ast.ImportFrom) and "sleep" in _imported(node, "time"):
            yield f"{node.lineno}: time.sleep"


def our_modules_are_not_patched(source: str) -> Iterator[str]:
    """Tests give our code its parts as arguments: nothing of csbs is replaced behind its back."""
    tree = ast.parse(source)
    ours = set(_names_of_ours(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and _imports_mock(node):
            yield f"{node.lineno}: unittest.mock; give the code a fake (csbs.testing has some)"
        if isinstance(node, ast.Call) and _patches(node, ours):
            yield f"{node.lineno}: replaces a part of csbs"


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _swallows_all(node: ast.Call | ast.ExceptHandler) -> bool:
    if isinstance(node, ast.Call):
        suppresses = _dotted(node.func) in {"suppress", "contextlib.suppress"}
        return suppresses and any(_dotted(argument) in _BROAD for argument in node.args)
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    broad = any(each is None or _dotted(each) in _BROAD for each in caught)
    return broad and not any(isinstance(each, ast.Raise) for each in ast.walk(node))


def _imported(node: ast.ImportFrom, module: str) -> set[str]:
    return {alias.name for alias in node.names} if node.module == module else set()


def _imports_mock(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "unittest.mock" or "mock" in _imported(node, "unittest")
    return any(alias.name.startswith("unittest.mock") for alias in node.names)


def _names_of_ours(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("csbs."):
            yield from (alias.asname or alias.name for alias in node.names)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if f"{alias.name}.".startswith("csbs."):
                    yield alias.asname or alias.name


def _patches(node: ast.Call, ours: set[str]) -> bool:
    if _dotted(node.func) not in {"monkeypatch.setattr", "monkeypatch.delattr"} or not node.args:
        return False
    target = node.args[0]
    if isinstance(target, ast.Constant):
        return isinstance(target.value, str) and target.value.startswith("csbs.")
    return _dotted(target) in ours or _dotted(target).startswith("csbs.")
