"""The commands of `homolog`, one module each.

Each has `HELP` (one line), `EXAMPLES` (the end of its help), `add_arguments(parser)` and `run(arguments)`,
which returns the exit code. `RENAMED`, where present, maps old option names to new ones. The top of a
module imports nothing heavy, because `homolog --help` imports all of them.
"""
