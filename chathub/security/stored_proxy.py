"""The proxy of a provider at rest: as it is shown, and encrypted where its URL has a secret."""

import json
from dataclasses import dataclass, replace
from urllib.parse import quote

from chathub.database.rows.providers import Provider
from chathub.database.transaction import Transaction
from chathub.proxy_url import ProxyUrl, ProxyUrlError
from chathub.security.vault import Vault
from chathub.sentences import Reason


@dataclass(frozen=True)
class StoredProxy:
    """``shown`` is None where the configuration decides, empty for no proxy, else the URL with stars for its
    secret. ``sealed`` is then the whole URL. It is bound to what is shown: no other host gets the secret."""

    provider_id: int
    shown: str | None = None
    sealed: bytes | None = None

    @classmethod
    def of(cls, row: Provider) -> "StoredProxy":
        return cls(row.id, row.proxy_url, row.proxy_secret)

    def associated_data(self) -> bytes:
        return json.dumps(["chathub proxy", 1, self.provider_id, self.shown], ensure_ascii=True).encode()

    def open(self, vault: Vault) -> str | None:
        """The whole URL; None where the configuration decides, empty for no proxy.

        Raises:
            VaultError: it was sealed for something else or under another secret.
        """
        if self.sealed is None:
            return self.shown
        url = vault.open(self.sealed, self)
        keep_out_of_logs(vault, ProxyUrl.parse(url))
        return url

    def entered(self, text: str | None, vault: Vault) -> "StoredProxy":
        """What is stored for a text that was entered; what is shown keeps what is stored.

        Raises:
            ProxyUrlError: the text is no URL of a proxy that can be used, or has stars and another address.
        """
        if not text:
            return StoredProxy(self.provider_id, text)
        proxy = ProxyUrl.parse(text)
        if self.shown == (proxy.masked if proxy.is_masked else proxy.text):
            return self
        if proxy.is_masked:
            raise ProxyUrlError(Reason("proxy_url_stars"))
        proxy = ProxyUrl.usable(text)
        new = StoredProxy(self.provider_id, proxy.masked)
        if proxy.masked == proxy.text:
            return new
        return new._sealed(proxy.text, vault)

    def resealed(self, before: Vault, after: Vault) -> "StoredProxy":
        """The proxy under another master secret. Raises ``VaultError`` as ``open`` does."""
        url = self.open(before)
        return self._sealed(url, after) if url and self.sealed is not None else self

    def _sealed(self, url: str, vault: Vault) -> "StoredProxy":
        keep_out_of_logs(vault, ProxyUrl.parse(url))
        return replace(self, sealed=vault.seal(url, self))


def list_sealed(tx: Transaction) -> list[tuple[str, StoredProxy]]:
    """The proxies with a secret, each with its provider's slug."""
    proxies = ((row.slug, StoredProxy.of(row)) for row in tx.all(tx.q.providers.list_all))
    return [(slug, proxy) for slug, proxy in proxies if proxy.sealed is not None]


def keep_out_of_logs(vault: Vault, proxy: ProxyUrl) -> None:
    """Keep the secret of a proxy out of the logs, decoded and as it stands in the URL."""
    if secret := proxy.password or proxy.user:
        vault.remember(secret)
        vault.remember(quote(secret, safe=""))
