"""Check what ``pyright --verifytypes --outputjson`` says: each public name has a type that all agree on.

The command line is a program, and nobody's to import.
"""

import json
import sys

report = json.load(sys.stdin)["typeCompleteness"]
symbols = [symbol for symbol in report["symbols"] if symbol["isExported"]]
public = [symbol for symbol in symbols if not symbol["name"].startswith("statuslookup.cli.")]
unclear = [symbol["name"] for symbol in public if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
print(f"{len(public)} public names, {len(unclear)} without a clear type")
if unclear or not public:
    sys.exit("\n".join(unclear))
