"""Unused keys, and the hashes that former releases of the packages stored of them."""

#: django-rest-knox 4.2.0: the token and its digest.
KNOX_4_2 = (
    "fae3bf71268452f418a9c67563378e311f0f3977c2f3ee57efd874f563213749",
    "16bf549c1286261081484852a5bbc7ba2816606c691685907136efdc70b35bf4"
    "b57b15154771c4ce2eb4ca56e2286f6f5edc8e28d09d2892eb408ad577b2fc6a",
)
