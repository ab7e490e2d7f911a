"""Which addresses are called: every hostile spelling is refused, the name is asked for once."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.addresses import Refusal, check_addresses, locate
from runware_jobs.core.request import Options
from runware_jobs.core.signing import Vault
from runware_jobs.errors import InvalidJob
from runware_jobs.outgoing import NameNotFound
from runware_jobs.steps.enqueue import ask
from runware_jobs.store.database import open_engine
from runware_jobs.webhook_endpoints import WebhookEndpoints
from runware_jobs.webhooks import AddressRefused, Failed, FailureReason, WebhookSender, check_url, resolve

PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

HOSTILE = [
    ("plain http", "http://hooks.example.com/", Refusal.SCHEME),
    ("file", "file:///etc/passwd", Refusal.SCHEME),
    ("ftp", "ftp://hooks.example.com/", Refusal.SCHEME),
    ("gopher", "gopher://127.0.0.1:6379/_FLUSHALL", Refusal.SCHEME),
    ("no scheme", "hooks.example.com/x", Refusal.SCHEME),
    ("no host", "https:///x", Refusal.NOT_A_URL),
    ("empty", "", Refusal.SCHEME),
    ("userinfo", "https://user:password@hooks.example.com/", Refusal.USERINFO),
    ("userinfo that looks like the host", "https://hooks.example.com@127.0.0.1/", Refusal.USERINFO),
    ("empty userinfo", "https://@hooks.example.com/", Refusal.USERINFO),
    ("backslash", "https://hooks.example.com\\@127.0.0.1/", Refusal.NOT_A_URL),
    ("newline", "https://hooks.example.com/\r\nHost: x", Refusal.NOT_A_URL),
    ("tab in the host", "https://127.0.\t0.1/", Refusal.NOT_A_URL),
    ("leading space", " https://hooks.example.com/", Refusal.NOT_A_URL),
    ("null byte", "https://hooks.example.com/\x00", Refusal.NOT_A_URL),
    ("too long", "https://hooks.example.com/" + "x" * 2048, Refusal.TOO_LONG),
    ("port 0", "https://hooks.example.com:0/", Refusal.PORT),
    ("port past the end", "https://hooks.example.com:65536/", Refusal.PORT),
    ("port of SSH", "https://hooks.example.com:22/", Refusal.PORT),
    ("port of mail", "https://hooks.example.com:25/", Refusal.PORT),
    ("port in other digits", "https://hooks.example.com:\u0664\u0664\u0663/", Refusal.NOT_A_URL),
    ("port with a sign", "https://hooks.example.com:+443/", Refusal.NOT_A_URL),
    ("two ports", "https://hooks.example.com:443:80/", Refusal.NOT_A_URL),
    ("loopback", "https://127.0.0.1/", Refusal.NOT_PUBLIC),
    ("all of loopback", "https://127.255.255.254/", Refusal.NOT_PUBLIC),
    ("unspecified", "https://0.0.0.0/", Refusal.NOT_PUBLIC),
    ("private 10", "https://10.1.2.3/", Refusal.NOT_PUBLIC),
    ("private 172", "https://172.31.255.255/", Refusal.NOT_PUBLIC),
    ("private 192", "https://192.168.1.1/", Refusal.NOT_PUBLIC),
    ("carrier-grade NAT", "https://100.64.0.1/", Refusal.NOT_PUBLIC),
    ("link-local", "https://169.254.1.1/", Refusal.NOT_PUBLIC),
    ("metadata", "https://169.254.169.254/latest/meta-data/", Refusal.NOT_PUBLIC),
    ("metadata of Alibaba", "https://100.100.100.200/", Refusal.NOT_PUBLIC),
    ("metadata of Azure", "https://168.63.129.16/", Refusal.NOT_PUBLIC),
    ("metadata of Oracle", "https://192.0.0.192/", Refusal.NOT_PUBLIC),
    ("multicast", "https://224.0.0.1/", Refusal.NOT_PUBLIC),
    ("broadcast", "https://255.255.255.255/", Refusal.NOT_PUBLIC),
    ("reserved", "https://240.0.0.1/", Refusal.NOT_PUBLIC),
    ("benchmarks", "https://198.18.0.1/", Refusal.NOT_PUBLIC),
    ("documentation", "https://203.0.113.7/", Refusal.NOT_PUBLIC),
    ("decimal", "https://2130706433/", Refusal.HOST),
    ("octal", "https://0177.0.0.1/", Refusal.HOST),
    ("octal in one", "https://017700000001/", Refusal.HOST),
    ("hex", "https://0x7f000001/", Refusal.HOST),
    ("hex parts", "https://0x7f.0x0.0x0.0x1/", Refusal.HOST),
    ("hex end", "https://127.0.0.0x1/", Refusal.HOST),
    ("short", "https://127.1/", Refusal.HOST),
    ("overflowing part", "https://127.0.0.257/", Refusal.HOST),
    ("five parts", "https://1.127.0.0.1/", Refusal.HOST),
    ("leading zeros", "https://127.000.000.001/", Refusal.HOST),
    ("trailing dot of an address", "https://127.0.0.1./", Refusal.HOST),
    ("trailing dot of a name", "https://hooks.example.com./", Refusal.HOST),
    ("only a dot", "https://./", Refusal.HOST),
    ("empty label", "https://hooks..example.com/", Refusal.HOST),
    ("label too long", f"https://{'a' * 64}.example.com/", Refusal.HOST),
    ("name too long", f"https://{'a.' * 127}com/", Refusal.HOST),
    ("percent-encoded host", "https://%31%32%37.0.0.1/", Refusal.HOST),
    ("full-width digits", "https://\uff11\uff12\uff17.0.0.1/", Refusal.HOST),
    ("circled digits", "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/", Refusal.HOST),
    ("ideographic dots", "https://127\u30020\u30020\u30021/", Refusal.HOST),
    ("circled letter", "https://\u24dbocalhost/", Refusal.HOST),
    ("soft hyphen", "https://hooks.exa\u00admple.com/", Refusal.HOST),
    ("joiner", "https://hooks.exam\u200dple.com/", Refusal.HOST),
    ("look-alike slash", "https://hooks.example.com\uff0f.evil.example/", Refusal.NOT_A_URL),
    ("look-alike at", "https://a\uff20127.0.0.1/", Refusal.NOT_A_URL),
    ("broken punycode", "https://xn--zzzzzz-.com/", Refusal.HOST),
    ("lone surrogate", "https://hooks.example.com/\ud800", Refusal.NOT_A_URL),
    ("localhost", "https://localhost/", Refusal.NOT_PUBLIC),
    ("name below localhost", "https://a.localhost/", Refusal.NOT_PUBLIC),
    ("single label", "https://redis:6379/", Refusal.NOT_PUBLIC),
    ("metadata by name", "https://metadata.google.internal/", Refusal.NOT_PUBLIC),
    ("metadata by a name of Amazon's", "https://instance-data.ec2.internal/", Refusal.NOT_PUBLIC),
    ("metadata by a short name", "https://metadata/", Refusal.NOT_PUBLIC),
    ("localhost in capitals", "https://LocalHost/", Refusal.NOT_PUBLIC),
    ("localhost with its domain", "https://localhost.localdomain/", Refusal.NOT_PUBLIC),
    ("localhost with a dot", "https://localhost./", Refusal.HOST),
    ("localhost of v6", "https://ip6-localhost/", Refusal.NOT_PUBLIC),
    ("a home network's name", "https://router.home.arpa/", Refusal.NOT_PUBLIC),
    ("mDNS", "https://printer.local/", Refusal.NOT_PUBLIC),
    ("no slashes", "https:127.0.0.1/", Refusal.NOT_A_URL),
    ("one slash", "https:/127.0.0.1/", Refusal.NOT_A_URL),
    ("three slashes", "https:///127.0.0.1/", Refusal.NOT_A_URL),
    ("backslashes for slashes", "https:\\\\127.0.0.1/", Refusal.NOT_A_URL),
    ("a host in the fragment", "https://127.0.0.1#@hooks.example.com/", Refusal.NOT_PUBLIC),
    ("a host in the query", "https://127.0.0.1?@hooks.example.com/", Refusal.NOT_PUBLIC),
    ("zero for all", "https://0/", Refusal.HOST),
    ("octal and short", "https://0177.1/", Refusal.HOST),
    ("hex with a dot at its end", "https://0x7f000001./", Refusal.HOST),
    ("full-width dots", "https://127\uff0e0\uff0e0\uff0e1/", Refusal.HOST),
    ("a newline in the host", "https://hooks.example\n.com/", Refusal.NOT_A_URL),
    ("port 00", "https://hooks.example.com:00/", Refusal.PORT),
    ("v6 loopback", "https://[::1]/", Refusal.NOT_PUBLIC),
    ("v6 unspecified", "https://[::]/", Refusal.NOT_PUBLIC),
    ("v6 loopback, long", "https://[0:0:0:0:0:0:0:1]/", Refusal.NOT_PUBLIC),
    ("v6 mapped", "https://[::ffff:127.0.0.1]/", Refusal.NOT_PUBLIC),
    ("v6 mapped in hex", "https://[::ffff:7f00:1]/", Refusal.NOT_PUBLIC),
    ("v6 mapped, of a public one", f"https://[::ffff:{PUBLIC}]/", Refusal.NOT_PUBLIC),
    ("v6 translated", "https://[::ffff:0:127.0.0.1]/", Refusal.NOT_PUBLIC),
    ("v6 compatible", "https://[::127.0.0.1]/", Refusal.NOT_PUBLIC),
    ("6to4", "https://[2002:7f00:1::]/", Refusal.NOT_PUBLIC),
    ("NAT64", "https://[64:ff9b::7f00:1]/", Refusal.NOT_PUBLIC),
    ("NAT64, local", "https://[64:ff9b:1::a00:1]/", Refusal.NOT_PUBLIC),
    ("Teredo", "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", Refusal.NOT_PUBLIC),
    ("v6 private", "https://[fd12:3456::1]/", Refusal.NOT_PUBLIC),
    ("v6 metadata of Amazon", "https://[fd00:ec2::254]/", Refusal.NOT_PUBLIC),
    ("v6 link-local", "https://[fe80::1]/", Refusal.NOT_PUBLIC),
    ("v6 site-local", "https://[fec0::1]/", Refusal.NOT_PUBLIC),
    ("v6 multicast", "https://[ff02::1]/", Refusal.NOT_PUBLIC),
    ("v6 documentation", "https://[2001:db8::1]/", Refusal.NOT_PUBLIC),
    ("v6 unassigned", "https://[4000::1]/", Refusal.NOT_PUBLIC),
    ("v6 mapped, metadata", "https://[::ffff:169.254.169.254]/", Refusal.NOT_PUBLIC),
    ("v6 mapped, written out", "https://[0:0:0:0:0:ffff:7f00:1]/", Refusal.NOT_PUBLIC),
    ("NAT64, metadata", "https://[64:ff9b::169.254.169.254]/", Refusal.NOT_PUBLIC),
    ("6to4, metadata", "https://[2002:a9fe:a9fe::1]/", Refusal.NOT_PUBLIC),
    ("v6 zone, not encoded", "https://[fe80::1%eth0]/", Refusal.NOT_A_URL),
    ("v6 zone", "https://[fe80::1%25eth0]/", Refusal.NOT_A_URL),
    ("v6 future", "https://[v1.fe80::a]/", Refusal.NOT_A_URL),
    ("v6 without end", "https://[::1/", Refusal.NOT_A_URL),
    ("v6 without brackets", "https://::1/", Refusal.NOT_A_URL),
    ("v6 that is none", "https://[1:2:3]/", Refusal.NOT_A_URL),
    ("v4 in brackets", "https://[127.0.0.1]/", Refusal.NOT_A_URL),
]


@pytest.mark.parametrize(("url", "reason"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_hostile_url_is_refused_without_asking_dns(url, reason):
    with pytest.raises(AddressRefused) as refused:
        check_url(url, allow_private=False)

    assert refused.value.reason == reason


_CASES = pytest.mark.parametrize("url", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])


@_CASES
def test_hostile_url_of_a_job_is_refused_at_enqueue(url):
    options = Options(webhook_url=url)

    with pytest.raises(InvalidJob) as refused:
        ask({"taskType": "imageInference", "model": "a:b@1", "positivePrompt": "x"}, options, kind="run")

    assert refused.value.parameter == "webhook_url"


@_CASES
async def test_hostile_url_of_an_endpoint_is_refused(url):
    nowhere = open_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1)
    endpoints = WebhookEndpoints(nowhere, Vault("a key"), allow_private=False)

    with pytest.raises(InvalidJob) as refused:
        await endpoints.add(url, tenant="default")

    assert refused.value.parameter == "url"


async def test_hostile_urls_are_refused_again_when_they_are_sent_to():
    """Nothing is asked of a name server, nothing is connected to: a row may hold what another version accepted."""
    names = Names([])
    async with WebhookSender(allow_private=False, resolver=names) as sender:
        results = [await sender.send(url, b"{}", {}) for _, url, _ in HOSTILE]

    passed = [
        label
        for (label, _, _), result in zip(HOSTILE, results, strict=True)
        if not isinstance(result, Failed) or result.reason != FailureReason.ADDRESS_REFUSED
    ]
    assert passed == []
    assert names.asked == []


NEVER = [
    "https://169.254.169.254/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://0.0.0.0/",
    "https://224.0.0.1/",
    "https://2130706433/",
    "https://user@localhost/",
    "http://10.0.0.1/",
    "http://hooks.example.com/",
    "http://[::ffff:127.0.0.1]/",
    "https://localhost:0/",
]


@pytest.mark.parametrize("url", NEVER)
def test_allowing_private_addresses_does_not_allow(url):
    with pytest.raises(AddressRefused):
        check_url(url, allow_private=True)


ALLOWED = [
    ("https://hooks.example.com", False, "https://hooks.example.com/"),
    ("https://hooks.example.com:443/x", False, "https://hooks.example.com/x"),
    ("HTTPS://Hooks.Example.COM:8443/A?b=C%20d#e", False, "https://hooks.example.com:8443/A?b=C%20d"),
    ("https://b\u00fccher.example/\u00fc", False, "https://xn--bcher-kva.example/%C3%BC"),
    ("https://my_host.example/", False, "https://my_host.example/"),
    (f"https://{PUBLIC}/", False, f"https://{PUBLIC}/"),
    (f"https://[{PUBLIC_V6.upper()}]:8443/", False, f"https://[{PUBLIC_V6}]:8443/"),
    ("http://localhost:8000/x", True, "http://localhost:8000/x"),
    ("http://127.0.0.1:8000/x", True, "http://127.0.0.1:8000/x"),
    ("http://[::1]:8000/x", True, "http://[::1]:8000/x"),
    ("https://10.0.0.1/", True, "https://10.0.0.1/"),
    ("https://receiver:8443/", True, "https://receiver:8443/"),
]


@pytest.mark.parametrize(("url", "allow_private", "sent_to"), ALLOWED)
def test_honest_url_is_called_as_read(url, allow_private, sent_to):
    assert sent_to == locate(url, allow_private=allow_private).url


def test_refusal_names_the_setting_that_would_allow_it_and_no_secret():
    with pytest.raises(AddressRefused) as refused:
        check_url("https://localhost/hooks/s3cr3t?token=s3cr3t", allow_private=False)

    assert "RUNWARE_JOBS_ALLOW_PRIVATE_WEBHOOKS" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


_hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.text(max_size=30),
    st.from_regex(r"[a-z0-9.\-_:%\[\]x@]{0,30}", fullmatch=True),
)


@given(host=_hosts, rest=st.text(max_size=20), allow_private=st.booleans())
def test_what_is_sent_to_is_what_was_judged(host, rest, allow_private):
    """Our reading and httpx's agree on the host, and our own is stable."""
    try:
        location = locate(f"https://{host}{rest}", allow_private=allow_private)
    except AddressRefused:
        return
    url = httpx.URL(location.url)

    assert location.host == url.raw_host.decode()
    assert location.port == (url.port or 443)
    assert location == locate(location.url, allow_private=allow_private)


@given(st.ip_addresses())
def test_no_address_outside_the_public_internet_passes(address):
    location = locate("https://hooks.example.com/", allow_private=False)
    if address.is_global and not address.is_multicast:
        return

    with pytest.raises(AddressRefused):
        check_addresses(location, [address], allow_private=False)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "64:ff9b::", "::"]))
def test_no_ipv4_address_passes_inside_an_ipv6_address(inner, prefix):
    address = IPv6Address(int(IPv6Address(prefix)) | int(inner))
    location = locate("https://hooks.example.com/", allow_private=False)

    with pytest.raises(AddressRefused):
        check_addresses(location, [address], allow_private=False)


class Names:
    """A resolver that gives one list of answers after another, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


async def test_name_is_resolved_once_to_every_address_in_order():
    names = Names([PUBLIC_V6, PUBLIC, PUBLIC])

    target = await resolve("https://hooks.example.com/x", allow_private=False, resolver=names)

    assert (IPv6Address(PUBLIC_V6), IPv4Address(PUBLIC)) == target.addresses
    assert (target.url, target.host, target.port) == ("https://hooks.example.com/x", "hooks.example.com", 443)
    assert names.asked == [("hooks.example.com", 443)]


@pytest.mark.parametrize(
    "private",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "64:ff9b::1"],
)
@pytest.mark.parametrize("first", [True, False])
async def test_one_private_answer_refuses_the_name(private, first):
    answers = [private, PUBLIC] if first else [PUBLIC, private]

    with pytest.raises(AddressRefused) as refused:
        await resolve("https://hooks.example.com/", allow_private=False, resolver=Names(answers))

    assert refused.value.reason == Refusal.NOT_PUBLIC
    assert private not in str(refused.value)


async def test_plain_http_needs_every_answer_to_be_loopback():
    with pytest.raises(AddressRefused):
        await resolve("http://localhost/", allow_private=True, resolver=Names(["127.0.0.1", "10.0.0.1"]))


async def test_literal_address_is_not_looked_up():
    names = Names([])

    target = await resolve(f"https://{PUBLIC}/", allow_private=False, resolver=names)

    assert (ip_address(PUBLIC),) == target.addresses
    assert names.asked == []


async def test_name_without_address_may_have_one_later():
    with pytest.raises(NameNotFound) as missing:
        await resolve("https://hooks.example.com/", allow_private=False, resolver=Names([]))

    assert missing.value.retryable


async def test_system_resolver_answers_for_localhost():
    target = await resolve("https://localhost/", allow_private=True)

    assert all(address.is_loopback for address in target.addresses)
