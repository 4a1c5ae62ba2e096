"""Asks a server for flags through the official OpenFeature SDK and its OFREP provider."""

import json
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

url, token = sys.argv[1:3]
api.set_provider(OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {token}"}))
client = api.get_client()


def tell(details, value=lambda value: value):
    if details.error_code:
        return f"{details.error_code.value} {details.reason}"
    shown = value(details.value)
    if isinstance(shown, bool):
        shown = str(shown).lower()
    return f"{shown} {details.variant} {details.reason}"


def user(key, **more):
    return EvaluationContext(targeting_key=key, attributes=more)


print(
    json.dumps(
        {
            "search-control": tell(client.get_boolean_details("new-search", True, user("user-1"))),
            "search-exposed": tell(client.get_boolean_details("new-search", False, user("user-13"))),
            "banner": tell(client.get_string_details("banner", "", user("x", email="jo@example.com"))),
            "banner-default": tell(client.get_string_details("banner", "", user("x"))),
            "limit": tell(client.get_integer_details("limit", 0, user("x"))),
            "ratio": tell(client.get_float_details("ratio", 0.0, user("x"))),
            "theme": tell(client.get_object_details("theme", {}, user("x")), lambda theme: theme["colour"]),
            "absent": tell(client.get_boolean_details("absent", False, user("x"))),
            "no-key": tell(client.get_boolean_details("new-search", False, EvaluationContext())),
            "switched-off": tell(
                client.get_boolean_details("switched-off", False, user("x")),
                lambda value: "code-default" if value is False else value,
            ),
        }
    )
)
