from django import test


class OAuth2ProviderTestCase(test.TestCase):
    databases = "__all__"


class OAuth2ProviderTransactionTestCase(test.TransactionTestCase):
    databases = "__all__"
