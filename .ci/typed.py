"""Check what ``pyright --verifytypes --outputjson`` says: each public name has a type that all agree on.

The command line is a program, and nobody's to import. Nor are the files of the fleet and of the tracker:
their folders say themselves what of them is public.
"""

import json
import re
import sys

# Below a folder, a name in small letters is a file's, or stands in one.
NOT_PUBLIC = re.compile(r"statuslookup\.(cli|fleet|tracker)\.[a-z]")

report = json.load(sys.stdin)["typeCompleteness"]
symbols = [symbol for symbol in report["symbols"] if symbol["isExported"]]
public = [symbol for symbol in symbols if not NOT_PUBLIC.match(symbol["name"])]
unclear = [symbol["name"] for symbol in public if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
print(f"{len(public)} public names, {len(unclear)} without a clear type")
if unclear or not public:
    sys.exit("\n".join(unclear))
