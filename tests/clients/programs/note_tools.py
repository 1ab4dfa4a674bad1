"""A server of tools by MCP, over its standard input and output: one writes the note."""

import json
import sys
from pathlib import Path
from typing import Any

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOL = {"name": "write_note", "description": "Writes the note anew.", "inputSchema": SCHEMA}


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        about = {"serverInfo": {"name": "home", "version": "1"}, "capabilities": {"tools": {}}}
        return {"protocolVersion": params["protocolVersion"], **about}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        Path("note.txt").write_text(params["arguments"]["text"], "utf-8")
        return {"content": [{"type": "text", "text": "written"}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        answer = {"id": message["id"], "result": result_of(message["method"], message.get("params", {}))}
        print(json.dumps({"jsonrpc": "2.0", **answer}), flush=True)
