"""Files and functions stay short enough to be read in one pass."""

import ast

MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 50


def function_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def long_functions(tree: ast.Module, most: int = MOST_FUNCTION_LINES) -> list[str]:
    return [
        f"{node.name} in line {node.lineno}: {function_lines(node)} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function_lines(node) > most
    ]


def test_files_are_short(sources: dict[str, str]) -> None:
    lengths = {path: len(text.splitlines()) for path, text in sources.items()}
    assert {path: n for path, n in lengths.items() if n > MOST_FILE_LINES} == {}


def test_functions_are_short(trees: dict[str, ast.Module]) -> None:
    assert [
        f"{path}: {line}" for path, tree in trees.items() for line in long_functions(tree)
    ] == []


def test_a_long_function_is_found_and_its_docstring_is_free() -> None:
    tree = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    a = 1\n    return a\n')
    assert long_functions(tree, most=3) == []
    assert long_functions(tree, most=2) == ["f in line 1: 3 lines"]
