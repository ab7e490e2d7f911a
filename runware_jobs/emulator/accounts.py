"""Who calls: API keys, the organisations behind them, and their prepaid balance."""

from __future__ import annotations

from dataclasses import dataclass

from .identifiers import derived_uuid

REJECTED_KEY = "bad-key"


@dataclass(slots=True)
class Account:
    """An organisation. `held_micro_usd` is the price of accepted work that has not finished."""

    organization_uuid: str
    name: str
    balance_micro_usd: int
    held_micro_usd: int = 0
    requests: int = 0
    billed_micro_usd: int = 0

    @property
    def available_micro_usd(self) -> int:
        return self.balance_micro_usd - self.held_micro_usd


class Accounts:
    """Organisations by UUID. Keys `acme.one` and `acme.two` are two keys of the organisation `acme`."""

    def __init__(self, balance_micro_usd: int) -> None:
        self.opening_micro_usd = balance_micro_usd
        self.by_uuid: dict[str, Account] = {}
        self._by_key: dict[str, Account] = {}

    def of_key(self, api_key: str) -> Account | None:
        """The organisation of a key, opened at its first call; None for a rejected or empty key."""
        known = self._by_key.get(api_key)
        if known is not None:
            return known
        if not api_key or api_key == REJECTED_KEY:
            return None
        name = api_key.partition(".")[0]
        organization_uuid = derived_uuid("organisation", name)
        account = self.by_uuid.get(organization_uuid)
        if account is None:
            # The name must not show the key: real keys are secrets even here.
            account = Account(organization_uuid, f"Studio {organization_uuid[:4]}", self.opening_micro_usd)
            self.by_uuid[organization_uuid] = account
        self._by_key[api_key] = account
        return account

    def clear(self) -> None:
        """Forget every organisation; the next call opens it again with the opening balance."""
        self.by_uuid.clear()
        self._by_key.clear()
