"""The changes that are tried in the source of a module.

Operators, constants, conditions and whole statements are changed. Left alone are docstrings, annotations, `__slots__`,
`assert`, the texts of errors, `__repr__`, decorators and the options of classes: a change of these alters no behaviour
that the core promises.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from attrs import evolve, frozen

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
FUNCTIONS = {"max": "min", "min": "max", "any": "all", "all": "any"}

DELETED = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Delete, ast.Raise, ast.Break, ast.Continue)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Change:
    """One node of a syntax tree and the node that replaces it, each as text too."""

    node: ast.AST
    by: ast.AST
    original: str
    mutated: str


@frozen
class Mutant:
    """One change of one module.

    `scope` is the qualified name of the function that is changed, or of the class or constant where no function is.
    """

    module: str
    line: int
    scope: str
    in_function: bool
    change: Change
    #: Tells apart equal changes in the same scope.
    number: int = 1

    @property
    def name(self) -> str:
        """The same as long as the code is, wherever in its module it stands."""
        number = f" ({self.number})" if self.number > 1 else ""
        return f"{self.scope}: {self.change.original} -> {self.change.mutated}{number}"

    @property
    def key(self) -> str:
        return f"{self.module}.{self.name}"


class _Replacing(ast.NodeTransformer):
    def __init__(self, change: Change) -> None:
        self._change = change

    def visit(self, node: ast.AST) -> ast.AST:
        if node is not self._change.node:
            return self.generic_visit(node)
        return ast.fix_missing_locations(ast.copy_location(self._change.by, node))


def apply(mutant: Mutant, tree: ast.Module) -> ast.Module:
    """Change the tree in which the mutant was found. There is no way back."""
    changed = _Replacing(mutant.change).visit(tree)
    assert isinstance(changed, ast.Module)
    return changed


def mutants(module: str, tree: ast.Module) -> list[Mutant]:
    """Return all mutants of a module in the order of its lines."""
    found = sorted(_of_block(tree.body, module, ""), key=lambda mutant: mutant.line)
    seen: Counter[str] = Counter()
    numbered = []
    for mutant in found:
        seen[mutant.name] += 1
        numbered.append(evolve(mutant, number=seen[mutant.name]))
    return numbered


def statement_at(line: int, tree: ast.Module) -> range:
    """The lines of the smallest statement around a line; of a compound statement only those of its head."""
    statements = (each for each in ast.walk(tree) if isinstance(each, ast.stmt))
    found = [range(each.lineno, _last_line(each) + 1) for each in statements]
    return min((lines for lines in found if line in lines), key=len)


def _last_line(statement: ast.stmt) -> int:
    body = getattr(statement, "body", None)
    return max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno or statement.lineno


def _of_block(body: list[ast.stmt], module: str, outer: str) -> Iterator[Mutant]:
    """Mutants of a module or a class, the functions in it included."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield from _of_block(statement.body, module, f"{outer}{statement.name}.")
            continue
        name = _name(statement)
        if name in ("__slots__", "__repr__"):
            continue
        changes = _changes(statement, function=False)
        if isinstance(statement, Function):
            yield from _mutants(_changes(statement.args, function=False), module, f"{outer}{name}", in_function=False)
            changes = (change for each in statement.body for change in _changes(each, function=True))
        yield from _mutants(changes, module, f"{outer}{name}", in_function=isinstance(statement, Function))


def _mutants(changes: Iterator[Change], module: str, scope: str, *, in_function: bool) -> Iterator[Mutant]:
    for change in changes:
        yield Mutant(module, getattr(change.node, "lineno", 0), scope, in_function, change)


def _name(statement: ast.stmt) -> str:
    """The name that a statement of a module or class defines."""
    if isinstance(statement, Function):
        return statement.name
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", statement)]
    return targets[0].id if isinstance(targets[0], ast.Name) else ""


def _changes(node: ast.AST, *, function: bool, within: ast.AST | None = None) -> Iterator[Change]:
    """All changes of a node and of what is in it. `within` is what it is shown in: a constant says little alone."""
    if isinstance(node, ast.Assert) or _is_text(node):
        return
    if isinstance(node, ast.stmt) and function:
        yield from _of_statement(node)
    yield from _of_expression(node, within or node)
    if isinstance(node, ast.Raise):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changes(child, function=function, within=node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _of_statement(node: ast.stmt) -> Iterator[Change]:
    if isinstance(node, DELETED):
        yield Change(node, ast.Pass(), _text(node), "pass")
    elif isinstance(node, ast.Return) and not _says_none(node.value):
        yield Change(node, ast.Return(ast.Constant(None)), _text(node), "return None")


def _of_expression(node: ast.AST, within: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            other = COMPARISONS[type(operator)]()
            yield _change(node, ast.Compare(node.left, [*node.ops[:i], other, *node.ops[i + 1 :]], node.comparators))
    elif isinstance(node, ast.BoolOp):
        yield _change(node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _change(node, node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _is_string(node.left):
        yield _change(node, ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right))
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield _change(node, ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        yield _change(node, ast.Call(ast.Name(FUNCTIONS[node.func.id], ast.Load()), node.args, node.keywords))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield _of_constant(node, within)
    yield from _of_conditions(node)


def _of_constant(node: ast.Constant, within: ast.AST) -> Change:
    """A Boolean is negated, a whole number becomes one more, and any other, mostly a time, doubles."""
    value, original = node.value, _text(within)
    if isinstance(value, bool):
        other = ast.Constant(not value)
    elif isinstance(value, int):
        other = ast.Constant(value + 1)
    else:
        assert isinstance(value, float)
        other = ast.Constant(2 * value or 1.0)
    node.value, mutated = other.value, ""
    try:
        mutated = _text(within)
    finally:
        node.value = value
    return Change(node, other, original, mutated)


def _of_conditions(node: ast.AST) -> Iterator[Change]:
    """Conditions that always hold, or never. A loop without end is no use, and neither is an empty comprehension."""
    if isinstance(node, ast.If | ast.IfExp):
        tests, values = [node.test], [True, False]
    elif isinstance(node, ast.While):
        tests, values = [node.test], [False]
    elif isinstance(node, ast.comprehension):
        tests, values = node.ifs, [True]
    else:
        return
    for test in tests:
        for value in values:
            yield Change(test, ast.Constant(value), f"if {ast.unparse(test)}", f"if {value}")


def _change(node: ast.AST, by: ast.AST) -> Change:
    return Change(node, by, _text(node), _text(by))


def _text(node: ast.AST) -> str:
    """The node as one line of source; of a compound statement only the head."""
    return ast.unparse(ast.fix_missing_locations(node)).partition("\n")[0]


def _says_none(value: ast.expr | None) -> bool:
    """Whether a return says the same as one of nothing, or, for who asks whether something is so, as much."""
    return value is None or (isinstance(value, ast.Constant) and (value.value is None or value.value is False))


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
