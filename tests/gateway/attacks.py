"""Generate attacks on another owner's resource, and detect whether one could succeed."""

import re
from urllib.parse import unquote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

OWN = "/subscribers/1001/offers"

NAMES = ["Kind", "Subject", "User", "Project", "Client", "Scopes", "Credential-Id"]


def forged(*more):
    """Return forged identity headers in many spellings."""
    spellings = [f"X-Auth-{name}" for name in (*NAMES, *more)]
    spellings += [s.lower() for s in spellings] + [s.upper() for s in spellings]
    mixed = [s[::-1].replace("-", "_", 1)[::-1] for s in spellings]  # X-Auth_Kind
    spellings += [s.replace("-", "_") for s in spellings] + mixed
    return [f"{spelling}: forged" for spelling in spellings]


# Detect whether any server could read a path as one of another subscriber.


def readings(target):
    """Return all paths that some server might read ``target`` as."""
    found, new = set(), {target.partition("?")[0].partition("#")[0]}
    while new:
        text = new.pop()
        if text in found or len(found) > 400:
            continue
        found.add(text)
        new |= {
            unquote(text, "latin-1"),
            unquote(text),
            text.replace("\\", "/"),
            text.lower(),
            re.sub(r";[^/]*", "", text),
            re.sub(r"[. \t\x00]+(?=/|$)", "", text),
            re.sub(r"//+", "/", text),
            re.sub(r"/\.(?=/|$)", "", text),
            re.sub(r"/[^/]*/\.\.(?=/|$)", "", text, count=1),
            text.partition("\x00")[0],
            text.partition("?")[0],
            text.partition("#")[0],
            re.sub(r"^https?://[^/]*", "", text),
        }
    return found


def reaches_another(target):
    subscribers = (
        re.match(r"/subscribers/([^/]+)", reading.lower()) for reading in readings(target)
    )
    return any(match is not None and match[1] != "1001" for match in subscribers)


PIECES = [
    *("/", "//", ".", "..", "/../", "/./", "%2e", "%2E", "%2e%2e", "%252e%252e", "%c0%ae", "..;"),
    *(";", ";x=1", "%3b", "%2f", "%2F", "%252f", "%5c", "%5C", "\\", "%00", "%0d%0a", "%20", "+"),
    *("subscribers", "Subscribers", "SUBSCRIBERS", "1001", "1002", "%31001", "100%32", "1001."),
    *("offers", "OFFERS", "offers.", "?", "#", "%3f", "%23", "%25", "&", "=", ",", "%EF%BC%8F"),
    *("http://localhost", "@", ":", "~", "$", "%", "%u002e", "%uff0e", "\u00e9", "%C3%A9", "%e9"),
]
TRICKS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: "/" + "".join(parts)),
    st.lists(st.sampled_from(PIECES), max_size=8).map(
        lambda parts: "/subscribers/1001" + "".join(parts) + "/offers"
    ),
    st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: OWN + "".join(parts)),
    st.tuples(st.sampled_from(PIECES), st.sampled_from(PIECES), st.sampled_from(PIECES)).map(
        lambda p: f"/subscribers/{p[0]}{p[1]}{p[2]}1002/offers"
    ),
)


def tricks(number):
    """Run a test with ``number`` attacks, passed as ``target`` and ``method``."""
    methods = st.sampled_from(["GET", "GET", "HEAD", "get", "POST"])

    def decorate(test):
        checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
        once = settings(max_examples=number, deadline=None, suppress_health_check=checks)
        return once(given(target=TRICKS, method=methods)(test))

    return decorate
