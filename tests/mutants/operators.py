"""The mutations of a module's source.

Operators, constants, conditions and whole statements are changed. Docstrings, annotations, `__slots__`, `assert`, the
texts of errors, `__repr__`, decorators and the options of classes stay unchanged, because they have no effect on the
behaviour that the core promises.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from attrs import evolve, frozen

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
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
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
FUNCTIONS = {"max": "min", "min": "max", "any": "all", "all": "any"}

DELETED = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Delete, ast.Raise, ast.Break, ast.Continue)

Function = ast.FunctionDef | ast.AsyncFunctionDef

#: A node, the node that replaces it, and both as text.
Change = tuple[ast.AST, ast.AST, str, str]


@frozen
class Mutant:
    """A change of a module: another node replaces `node` in its `tree`.

    `scope` is the qualified name of the function that is changed. For a change outside functions it is the name of
    the class or constant. `number` distinguishes equal changes in the same scope.
    """

    module: str
    tree: ast.Module
    scope: str
    in_function: bool
    node: ast.AST
    by: ast.AST
    original: str
    mutated: str
    number: int = 1

    @property
    def line(self) -> int:
        return getattr(self.node, "lineno", 0)

    @property
    def name(self) -> str:
        """Return a name that depends on the code, and not on its position in the module."""
        return f"{self.scope}: {self.original} -> {self.mutated}" + f" ({self.number})" * (self.number > 1)

    @property
    def key(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def statement(self) -> range:
        """Return the lines of the smallest statement around the change; of a compound statement, only its head."""
        statements = (each for each in ast.walk(self.tree) if isinstance(each, ast.stmt))
        found = [range(each.lineno, _last_line(each) + 1) for each in statements]
        return min((lines for lines in found if self.line in lines), key=len)

    def apply(self) -> ast.Module:
        """Apply the change to the tree. This cannot be undone."""
        ast.fix_missing_locations(ast.copy_location(self.by, self.node))
        for parent in ast.walk(self.tree):
            for name, value in ast.iter_fields(parent):
                if value is self.node:
                    setattr(parent, name, self.by)
                elif isinstance(value, list):
                    value[:] = [self.by if each is self.node else each for each in value]
        return self.tree


def _last_line(statement: ast.stmt) -> int:
    body = getattr(statement, "body", None)
    return max(statement.lineno, body[0].lineno - 1) if body else statement.end_lineno or statement.lineno


def mutants(module: str, tree: ast.Module) -> list[Mutant]:
    """Return all mutants of a module in the order of its lines."""
    found = [Mutant(module, tree, scope, is_in, *change) for scope, is_in, change in _of_block(tree.body, "")]
    seen: Counter[str] = Counter()
    numbered = []
    for mutant in sorted(found, key=lambda mutant: mutant.line):
        seen[mutant.name] += 1
        numbered.append(evolve(mutant, number=seen[mutant.name]))
    return numbered


def _of_block(body: list[ast.stmt], outer: str) -> Iterator[tuple[str, bool, Change]]:
    """Yield the changes of a module or class and its contents, each with its scope and whether it is in a function."""
    for statement in body:
        name = outer + _name(statement)
        if isinstance(statement, ast.ClassDef):
            yield from _of_block(statement.body, f"{name}.")
        elif isinstance(statement, Function) and statement.name != "__repr__":
            yield from ((name, False, change) for change in _changes(statement.args, function=False))
            inner = (change for each in statement.body for change in _changes(each, function=True))
            yield from ((name, True, change) for change in inner)
        elif not name.endswith("__"):
            yield from ((name, False, change) for change in _changes(statement, function=False))


def _name(statement: ast.stmt) -> str:
    """Return the name that a statement of a module or class defines."""
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return getattr(statement, "name", getattr(targets[0], "id", ""))


def _changes(node: ast.AST, *, function: bool, within: ast.AST | None = None) -> Iterator[Change]:
    """Yield all changes of a node and its contents.

    `within` is shown as their context, because a constant alone says little.
    """
    if isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return
    if isinstance(node, ast.stmt) and function:
        yield from _of_statement(node)
    yield from _of_expression(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield _of_constant(node, within or node)
    if isinstance(node, ast.Raise):
        return
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns", "decorator_list"):
                yield from _changes(child, function=function, within=node)


def _of_statement(node: ast.stmt) -> Iterator[Change]:
    if isinstance(node, DELETED):
        yield node, ast.Pass(), _text(node), "pass"
    elif isinstance(node, ast.Return) and not _says_none(node.value):
        yield _change(node, ast.Return(ast.Constant(None)))


def _of_expression(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            yield _change(node, _with(node, ops=[*node.ops[:i], SWAPPED[type(operator)](), *node.ops[i + 1 :]]))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _change(node, node.operand)
    elif isinstance(node, ast.BoolOp | ast.BinOp | ast.AugAssign) and type(node.op) in SWAPPED:
        yield _change(node, _with(node, op=SWAPPED[type(node.op)]()))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        yield _change(node, _with(node, func=ast.Name(FUNCTIONS[node.func.id], ast.Load())))
    # Make a condition always true, or always false, but no loop endless and no comprehension empty.
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.comprehension):
        tests = node.ifs if isinstance(node, ast.comprehension) else [node.test]
        values = [not isinstance(node, ast.While)] + [False] * isinstance(node, ast.If | ast.IfExp)
        for test in tests:
            yield from ((test, ast.Constant(value), f"if {ast.unparse(test)}", f"if {value}") for value in values)


def _of_constant(node: ast.Constant, within: ast.AST) -> Change:
    """Negate a Boolean, add one to a whole number, and double any other number, which mostly is a time."""
    value, original = node.value, _text(within)
    assert isinstance(value, int | float)
    node.value = (not value) if isinstance(value, bool) else value + 1 if isinstance(value, int) else 2 * value or 1.0
    other, mutated = ast.Constant(node.value), _text(within)
    node.value = value
    return node, other, original, mutated


def _with(node: ast.AST, **fields: object) -> ast.AST:
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def _change(node: ast.AST, by: ast.AST) -> Change:
    return node, by, _text(node), _text(by)


def _text(node: ast.AST) -> str:
    """Return the node as one line of source; for a compound statement, only its head."""
    return ast.unparse(ast.fix_missing_locations(node)).partition("\n")[0]


def _says_none(value: ast.expr | None) -> bool:
    """Return True if a return statement returns None, or a value with the same truth value."""
    return value is None or (isinstance(value, ast.Constant) and (value.value is None or value.value is False))
