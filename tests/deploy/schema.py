"""Reads dashboards through the types of Grafana's Foundation SDK and writes them again.

What comes back must be what went in: a field that the schema does not know would be lost on the way, a value of a
wrong type does not read. Fields that the SDK leaves out because they are empty are no difference.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(place, given, known):
    """Where `known` lacks something of `given`."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key in known:
                yield from lost(f"{place}.{key}", value, known[key])
            elif value not in (None, "", [], {}):
                yield f"{place}.{key}"
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        for number, (one, other) in enumerate(zip(given, known)):
            yield from lost(f"{place}[{number}]", one, other)
    elif given != known:
        yield f"{place}: {given!r} comes back as {known!r}"


register_default_plugins()
failed = False
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    known = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(given)))
    problems = list(lost("", given, known))
    for problem in problems:
        print(f"{path}: Grafana's schema does not know {problem}", file=sys.stderr)
    failed = failed or bool(problems)
    print(path)
sys.exit(1 if failed else 0)
