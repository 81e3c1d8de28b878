"""The options of a node: their results, and the errors for invalid values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import twisted.test
from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.options import OPTIONS, NodeOptions, from_command_line, validate_options
from bender.node.limits import Limits
from bender.process.options import OptionError, RawOption, from_toml


def node_options(**options: Any) -> NodeOptions:
    """Return the validated options of a command line on the host `box`."""
    return validate_options({option: from_command_line(option, value) for option, value in options.items()}, "box")


class Refusing(SynchronousTestCase):
    def refused(self, *words: str, **options: Any) -> None:
        """Check that these options are refused with one sentence that has these words."""
        sentence = str(self.assertRaises(OptionError, node_options, **options))
        for word in words:
            self.assertIn(word, sentence)
        self.assertNotIn("\n", sentence)
        self.assertRegex(sentence, r"[.?]\Z")


class Dns(Refusing):
    def test_off(self) -> None:
        """A node without the option does not speak DNS."""
        self.assertEqual((node_options().dns, "dns" in node_options().endpoints), (None, False))

    def test_port_and_address(self) -> None:
        """The address is this machine's own unless another one is given, in any form."""
        for text, interface in (
            ("8600", "127.0.0.1"),
            ("8600:interface=127.8.8.8", "127.8.8.8"),
            ("8600:interface=::1", "::1"),
            (r"8600:interface=\:\:1", "::1"),
        ):
            endpoint = node_options(dns=text).endpoints["dns"]
            self.assertEqual((endpoint.port, endpoint.interface, endpoint.is_loopback), (8600, interface, True))
            self.assertEqual(endpoint.description, f"8600:interface={interface}")

    def test_other_forms(self) -> None:
        for text in (
            "",
            "dns",
            "0",
            "65536",
            "tcp:53",
            "53:interface=",
            "53:interface=localhost",
            "53:backlog=5",
            "-1",
        ):
            self.refused("--dns must be PORT or PORT:interface=ADDRESS", repr(text), dns=text)

    def test_port_of_another_option(self) -> None:
        """DNS also uses TCP, so no other option may have the same port."""
        self.refused("--api tcp:1729", "--dns 1729:interface=127.0.0.1 use the same address", dns="1729")

    def test_other_machines(self) -> None:
        """DNS cannot be protected, so only --insecure allows it."""
        for address in ("0.0.0.0", "10.0.0.5", "::", "2001:db8::5"):
            text = f"53:interface={address}"
            self.refused(
                f"--dns {text} can be reached", "a client of DNS uses neither TLS nor tokens", "--insecure", dns=text
            )
            every_option = node_options(dns=text, insecure=True)
            self.assertIn("cannot be protected", str(every_option.exposure("dns")))
        self.assertIsNone(node_options(dns="53").exposure("dns"))


class Defaults(SynchronousTestCase):
    def test_a_node_without_options_listens_on_loopback_alone(self) -> None:
        """The three default endpoints are those of the documentation, and other machines cannot reach them."""
        endpoints = node_options().endpoints
        self.assertEqual(
            {option: endpoint.description for option, endpoint in endpoints.items()},
            {
                "api": "tcp:1729:interface=127.0.0.1",
                "exchange": "tcp:1730:interface=127.0.0.1",
                "events": "tcp:1731:interface=127.0.0.1",
            },
        )
        self.assertTrue(all(endpoint.is_loopback for endpoint in endpoints.values()))

    def test_the_other_options_have_the_documented_defaults_too(self) -> None:
        """The defaults are a ttl of ten seconds, a round each second, no peers, and the cluster `bender`."""
        options = node_options()
        self.assertEqual((options.timing.ttl_s, options.timing.interval_s), (10.0, 1.0))
        self.assertEqual((options.peers, options.cluster, options.insecure), ((), "bender", False))

    def test_a_node_is_called_after_its_host_and_its_port_for_clients(self) -> None:
        """Two nodes of one machine have different default names."""
        self.assertEqual(node_options().name, "box:1729")
        self.assertEqual(node_options(api="tcp:1739:interface=127.0.0.1").name, "box:1739")
        self.assertEqual(node_options(api="unix:/run/bender").name, "box:/run/bender")

    def test_peers_reach_a_node_at_the_interface_of_its_exchange(self) -> None:
        """If the exchange listens at one address, peers use this address."""
        self.assertEqual(node_options().address, "127.0.0.1:1730")
        self.assertEqual(node_options(exchange="tcp:9:interface=\\:\\:1").address, "[::1]:9")

    def test_peers_reach_a_node_that_listens_everywhere_under_its_host_name(self) -> None:
        """Peers cannot connect to an empty or a wildcard address."""
        for exchange in ("tcp:9", "tcp:9:interface=0.0.0.0", "tcp6:9", "tcp:9:interface=\\:\\:"):
            self.assertEqual(node_options(exchange=exchange, insecure=1).address, "box:9")

    def test_what_is_advertised_wins_over_both(self) -> None:
        """A value of --advertise overrides the address of --exchange and the host name."""
        self.assertEqual(node_options(advertise="10.0.0.5").address, "10.0.0.5:1730")
        self.assertEqual(node_options(advertise="fd00::5").address, "[fd00::5]:1730")

    def test_clients_reach_a_node_where_peers_do(self) -> None:
        """Clients reach the API at the advertised host, unless the API listens only on this machine."""
        self.assertEqual(node_options().api_port, 1729)
        self.assertEqual(node_options(advertise="10.0.0.5").api_port, 0)
        self.assertEqual(node_options(advertise="10.0.0.5", api="tcp:9", insecure=1).api_port, 9)
        self.assertEqual(node_options(api="unix:/run/bender").api_port, 0)


class Peers(Refusing):
    def test_peers_come_with_commas_or_in_several_options(self) -> None:
        """Peers are separated by commas or given by several options, each with or without a port."""
        self.assertEqual(node_options(peers=["a:1, b", "10.0.0.5:1740"]).peers, ("a:1", "b:1730", "10.0.0.5:1740"))

    def test_addresses_of_ipv6_may_stand_in_brackets(self) -> None:
        """An IPv6 address without a port needs no brackets."""
        self.assertEqual(
            node_options(peers=["[::1]:1740,[::1],fd00::5"]).peers, ("[::1]:1740", "[::1]:1730", "[fd00::5]:1730")
        )

    def test_what_is_no_address_is_refused(self) -> None:
        """The error has the invalid part, and the form of an address."""
        for peer in ("", "a,,b", "a:", ":1730", "a:0", "a:65536", "a:x", "a:1:2", "a b", "http://a", "[a]:1", "[::1]1"):
            self.refused("--peers", "HOST:PORT", peers=[peer])
        self.refused("'b:x'", peers=["a,b:x"])


class Disabled(Refusing):
    def test_nothing_is_at_first(self) -> None:
        """By default, all protocols that need no listener of their own are on."""
        self.assertEqual(node_options().disabled, ())

    def test_protocols_come_with_commas_or_in_several_options(self) -> None:
        """The option may be repeated, and its values may have any order."""
        self.assertEqual(node_options(disable=["prometheus, prometheus", "prometheus"]).disabled, ("prometheus",))

    def test_an_unknown_protocol_is_refused(self) -> None:
        """The error has the most similar protocol, or all protocols."""
        self.refused("--disable names 'promethus'", "did you mean prometheus?", disable=["promethus"])
        self.refused("''", "choose among prometheus", disable=["prometheus,"])
        self.refused("must be a list of protocols", disable=7)


class AllowedHosts(Refusing):
    def test_none_is_at_first(self) -> None:
        """By default, no names are added, because names of the node and its machine need no option."""
        self.assertEqual(node_options().allowed_hosts, ())
        options = validate_options(
            {"advertise": RawOption("--advertise", "N1.example")}, "Box", frozenset({"box", "box.lan"})
        )
        self.assertEqual(options.own_names, {"box", "box.lan", "n1.example"})

    def test_names_come_with_commas_or_in_several_options(self) -> None:
        """Names may be in any case and order, with or without a final dot, and repeated."""
        names = node_options(**{"allow-host": ["Registry.example., bender.lan", "bender.lan"]}).allowed_hosts
        self.assertEqual(names, ("bender.lan", "registry.example"))

    def test_what_is_not_a_name_is_refused(self) -> None:
        """The error has the invalid value, and the parts that a name must not have."""
        for name in ("*.example", ".example", "http://a.example", "a.example:1729", "", "a b", "[::1]"):
            self.refused(
                f"not {name!r}", "without ports, schemes or wildcards", **{"allow-host": [f"a.example,{name}"]}
            )
        self.refused("must be a list of names", **{"allow-host": 7})


class Endpoints(Refusing):
    def test_two_endpoints_in_one_place_are_refused(self) -> None:
        """Two endpoints conflict if they have the same port and a common interface, or the same path."""
        for api, events in (
            ("tcp:9:interface=127.0.0.1", "tcp:9:interface=127.0.0.1"),
            ("tcp:9:interface=127.0.0.1", "tcp:9"),
            ("unix:/a", "unix:/a"),
        ):
            self.refused("--api", "--events", "port of its own", api=api, events=events, insecure=1)

    def test_endpoints_beside_each_other_are_fine(self) -> None:
        """One port at two addresses, ports that the system chooses, and two paths are no conflict."""
        node_options(api="tcp:9:interface=127.0.0.1", events="tcp:9:interface=127.0.0.2")
        node_options(api="tcp:0:interface=127.0.0.1", events="tcp:0:interface=127.0.0.1")
        node_options(api="unix:/a", events="unix:/b", exchange="tcp:0:interface=127.0.0.1")

    def test_an_exchange_that_peers_cannot_reach_is_refused_with_peers(self) -> None:
        """With peers, the endpoint of the exchange must be plain TCP at a known port."""
        self.refused("--peers", "--exchange", peers=["a"], exchange="unix:/a")
        self.refused("--peers", "--exchange", peers=["a"], exchange="tcp:0:interface=127.0.0.1")
        certificate = Path(twisted.test.__file__).with_name("server.pem")
        self.refused("--peer-tls", exchange=f"ssl:9:privateKey={certificate}:interface=127.0.0.1")


class Times(Refusing):
    def test_a_ttl_of_four_intervals_is_enough(self) -> None:
        """A smaller ttl is refused, because a single lost message could end a lease."""
        self.assertEqual(node_options(ttl="4", interval="1").timing.ttl_s, 4.0)
        self.assertEqual(node_options(ttl="1.2", interval="0.3").timing.ttl_s, 1.2)
        self.refused("--ttl 3.9", "--interval 1", "4 or more", ttl="3.9", interval="1")
        self.refused("--ttl 10", "--interval 3", "12 or more", interval="3")

    def test_what_is_no_number_of_seconds_is_refused(self) -> None:
        """Words, infinity and NaN are not valid durations."""
        for seconds in ("ten", "", "10 s", "1m1h", "nan", "inf", "-inf"):
            self.refused("--ttl must be a number of seconds", ttl=seconds)

    def test_units(self) -> None:
        """Durations may have units, on the command line and in a file."""
        options = node_options(ttl="10m", interval="500ms", guard="5m")
        self.assertEqual((options.timing.ttl_s, options.timing.interval_s, options.guard_s), (600.0, 0.5, 300.0))

    def test_too_few_and_too_many_seconds_are_refused(self) -> None:
        """The error has the bound."""
        self.refused("--ttl", "at most 3600", ttl="3601")
        self.refused("--interval", "at least 0.05", interval="0.04")
        self.refused("--interval", "at least 0.05", interval="-1")
        self.refused("--guard", "at most 3600", guard="3601")
        self.refused("--guard", "at least 0", guard="-1")

    def test_a_guard_is_off_unless_it_is_said(self) -> None:
        """The guard may be of any length, on the command line and in a file."""
        self.assertEqual(
            (node_options().guard_s, node_options(guard="0").guard_s, node_options(guard="0.5").guard_s),
            (0.0, 0.0, 0.5),
        )


class LimitsOfANode(Refusing):
    def limits(self, **options: Any) -> Limits:
        return node_options(**{option.replace("_", "-"): value for option, value in options.items()}).limits

    def test_defaults(self) -> None:
        """The default limits are those of the documentation; the rate has no limit."""
        self.assertEqual(self.limits(), Limits(10_000, 10_000, 1_000_000, 0.0, 65_536, 4096, 60.0))

    def test_each_can_be_set(self) -> None:
        """Limits are numbers; a duration may have a unit."""
        limits = self.limits(
            max_connections="1",
            max_subscribers="2",
            max_registrations="3",
            max_rate="0.5",
            max_body="8192",
            max_entry="8192",
            client_timeout="2m",
        )
        self.assertEqual(limits, Limits(1, 2, 3, 0.5, 8192, 8192, 120.0))

    def test_bounds(self) -> None:
        """The error has the option and the bound; peers accept no larger entry, and no more entries of one node."""
        for option, value, bound in (
            ("max-connections", "0", "at least 1,"),
            ("max-connections", "1000001", "at most 1000000,"),
            ("max-subscribers", "0", "at least 1,"),
            ("max-registrations", "1000001", "at most 1000000,"),
            ("max-rate", "-1", "at least 0,"),
            ("max-body", "2047", "at least 2048,"),
            ("max-body", "1048577", "at most 1048576,"),
            ("max-entry", "12289", "at most 12288,"),
            ("client-timeout", "0.5", "at least 1 seconds,"),
            ("client-timeout", "2h", "at most 3600 seconds,"),
        ):
            self.refused(f"--{option} must be", bound, **{option: value})

    def test_no_numbers(self) -> None:
        """A limit that is not a valid number is refused."""
        for value in ("", "many", "1.5", "nan", "inf", "1k"):
            self.refused("--max-connections must be an integer, not", **{"max-connections": value})
        self.refused("--max-rate must be a number", **{"max-rate": "fast"})

    def test_an_entry_fits_its_body(self) -> None:
        """--max-entry must not exceed --max-body, also if one of them has its default."""
        self.refused("--max-body 2048 is less than --max-entry 4096", **{"max-body": "2048"})


class Names(Refusing):
    def test_names_are_short_and_printable(self) -> None:
        """Names must be short and printable, because log lines contain them."""
        for name in ("", "a\nb", "x" * 256, "\udcff"):
            self.refused("--name", "1 to 255 printable characters", name=name)
            self.refused("--cluster", "1 to 255 printable characters", cluster=name)
        self.assertEqual(node_options(name="x" * 255, cluster="Öl").name, "x" * 255)

    def test_so_is_the_name_that_follows_from_the_endpoint(self) -> None:
        """The default name must be printable, too, because peers would refuse every message of the node."""
        self.refused("--name", "--api", "printable", api="unix:/run/a\tb")
        self.assertEqual(node_options(api="unix:/run/a\tb", name="n1").name, "n1")

    def test_what_is_advertised_is_a_host_alone(self) -> None:
        """The advertised host has no port, because the port is that of the exchange, and is not a wildcard address."""
        for host in ("10.0.0.5:1730", "", "a b", "0.0.0.0", "::"):
            self.refused("--advertise", repr(host), advertise=host)


class Files(SynchronousTestCase):
    def given(self, text: str) -> dict[str, RawOption]:
        self.path = self.mktemp()
        Path(self.path).write_text(text)
        return from_toml(self.path, OPTIONS, "bender")

    def refused(self, text: str, *words: str) -> None:
        """Check that a file is refused with one sentence that has these words and its path."""
        sentence = str(self.assertRaises(OptionError, lambda: validate_options(self.given(text), "box")))
        for word in (*words, self.path):
            self.assertIn(word, sentence)
        self.assertNotIn("\n", sentence)

    def test_a_port_is_a_number(self) -> None:
        """In a file, an endpoint may be the number of a port, but no other number."""
        endpoint = validate_options(self.given("dns = 8600"), "box").dns
        assert endpoint is not None
        self.assertEqual((endpoint.port, endpoint.interface), (8600, "127.0.0.1"))
        for value in ("true", "86.5", "[8600]"):
            self.refused(f"dns = {value}", "must be PORT or PORT:interface=ADDRESS")

    def test_a_file_has_the_options_of_the_command_line(self) -> None:
        """In a file, numbers are numbers, flags are Booleans, and peers may be a list."""
        options = validate_options(
            self.given("""
                api = "tcp:9"
                peers = ["a:1", "b"]
                name = "n1"
                ttl = 20
                interval = 0.5
                guard = 60
                disable = ["prometheus"]
                allow-host = ["registry.example"]
                insecure = true
            """),
            "box",
        )
        self.assertEqual((options.api.port, options.peers, options.name), (9, ("a:1", "b:1730"), "n1"))
        self.assertEqual((options.timing.ttl_s, options.timing.interval_s, options.insecure), (20.0, 0.5, True))
        self.assertEqual((options.guard_s, options.disabled), (60.0, ("prometheus",)))
        self.assertEqual(options.allowed_hosts, ("registry.example",))

    def test_peers_may_be_one_string_with_commas(self) -> None:
        """A string in a file may list several peers, as on the command line."""
        self.assertEqual(validate_options(self.given('peers = "a:1,b"'), "box").peers, ("a:1", "b:1730"))

    def test_a_value_of_another_type_is_refused(self) -> None:
        """A string must be a duration, and a Boolean is not a number."""
        for text, option, expected in (
            ('ttl = "ten"', "ttl in ", "number"),
            ("interval = true", "interval in ", "number"),
            ("guard = []", "guard in ", "number"),
            ("ttl = nan", "ttl in ", "number"),
            (f"interval = 1{'0' * 400}", "interval in ", "number"),
            (f"ttl = -1{'0' * 400}", "ttl in ", "number"),
            ('events = "unix:/a\\u0000b"', "events in ", "string"),
            ("api = 1729", "api in ", "string"),
            ("name = 7", "name in ", "string"),
            ("advertise = []", "advertise in ", "string"),
            ('insecure = "yes"', "insecure in ", "true or false"),
            ("insecure = 1", "insecure in ", "true or false"),
            ("peers = 7", "peers in ", "list"),
            ('peers = ["a", 7]', "peers in ", "list"),
            ("disable = true", "disable in ", "list"),
            ("allow-host = true", "allow-host in ", "list of names"),
            ('allow-host = ["a:1"]', "allow-host in ", "not 'a:1'"),
            ('disable = ["promethus"]', "disable in ", "did you mean prometheus?"),
        ):
            self.refused(text, option, expected)
