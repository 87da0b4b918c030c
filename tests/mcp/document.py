"""The metadata document of an agent (CIMD)."""

from oauth2_provider.cimd import CIMDError

CLIENT_ID = "https://agent.example/client.json"
DOCUMENT = {
    "client_id": CLIENT_ID,
    "client_name": "An agent",
    "client_uri": "https://agent.example",
    "redirect_uris": ["http://127.0.0.1:3030/callback", "http://localhost:3030/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}


class Fetcher:
    """Replaces the one that fetches from public addresses only."""

    def fetch(self, client_id):
        if client_id != CLIENT_ID:
            raise CIMDError("not found")
        return DOCUMENT, 300
