"""Prints which of the SDK's modules a plugin imports, of those whose powers an operator has to grant, one a line.

Nothing of the plugin runs: its modules are parsed, and those that they import, packages of others too.

python3 uses.py MODULE PATHS POWER…, with PATHS as in PYTHONPATH
"""

import ast
import os
import sys

SDK = "hostler_guest"


def imports(text, package):
    """The names of all that a module imports; of some, of which only Python knows whether they are modules."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(above + ([node.module] if node.module else []))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def file_of(name, paths):
    """A module's file, and whether it is a package."""
    for path in paths:
        stem = os.path.join(path, *name.split("."))
        for file, is_package in ((os.path.join(stem, "__init__.py"), True), (stem + ".py", False)):
            if os.path.isfile(file):
                return file, is_package
    return None, False


def uses(module, paths, powers):
    """Those of the powers that a module leads to."""
    wanted = {f"{SDK}.{power}": power for power in powers}
    waiting, seen, used = [module], set(), set()
    while waiting:
        parts = waiting.pop().split(".")
        # A package is imported before what is in it.
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in wanted:
                used.add(wanted[name])
            if name in seen or parts[0] == SDK:
                continue
            seen.add(name)
            file, is_package = file_of(name, paths)
            if file is None:
                continue
            try:
                with open(file, "rb") as source:
                    waiting.extend(imports(source.read(), parts[: end if is_package else end - 1]))
            except (SyntaxError, ValueError, RecursionError):
                pass  # The compiler, which may know a newer Python, tells of it if it is wrong.
    return [power for power in powers if power in used]


if __name__ == "__main__":
    for power in uses(sys.argv[1], sys.argv[2].split(os.pathsep), sys.argv[3:]):
        print(power)
